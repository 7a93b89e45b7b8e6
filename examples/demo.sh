#!/bin/sh
# The main job in one go: a local sample site, a cluster on this machine, 2,000 pages into one file, the file checked.
# `make demo` calls this. Nothing leaves this machine, and the cluster is stopped at the end.
set -eu
cd "$(dirname "$0")/.."
output=data/pages.warc.gz
work=$(mktemp -d)
site=

finish() {
    status=$?
    sheaf down >/dev/null || true
    if [ -n "$site" ]; then kill "$site" 2>/dev/null || true; fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

"$PYTHON" services/site/site.py --port 0 --port-file "$work/port" >/dev/null &
site=$!
until [ -s "$work/port" ]; do sleep 0.1; done
"$PYTHON" services/site/site.py --print-urls 2000 --base "http://127.0.0.1:$(cat "$work/port")" > "$work/urls.txt"

sheaf up --workers 2
# The sample site has a local address, which a worker refuses unless it is named.
sheaf load "$work/urls.txt" -o pages.warc.gz --allow-net 127.0.0.1/32
sheaf verify "$output"

cat <<END

The pages are in $output: one file, $(du -h "$output" | cut -f1), readable by every WARC tool.
Look at one:        .venv/bin/sheaf get $output 0 | less
Load your own list: make load URLS=my.txt            (one URL a line)
Another format:     make load URLS=my.txt OUTPUT=pages.html   (or .jsonl, .txt, .warc)
In containers:      make up WORKERS=4                (README.md, "In containers")
END
