#!/bin/sh
# The main job in one go: a local sample site, a cluster on this machine, 2,000 pages into one file, the file checked.
# `make demo` calls this. Nothing leaves this machine, and the cluster is stopped at the end. It has a data folder of its
# own, so that neither a cluster of yours nor your outputs are touched.
set -eu
cd "$(dirname "$0")/.."
data=${SHEAF_DATA_DIR:-data}/demo
# What a shell has exported for a cluster of one's own is not meant for this one.
unset SHEAF_REDIS_URL SHEAF_REDIS_URL_FILE SHEAF_TASKS_DIR
export SHEAF_DATA_DIR="$data"
output=$data/pages.warc.gz
mkdir -p "$data"
work=$(mktemp -d)
site=

finish() {
    status=$?
    trap '' INT TERM     # a second Ctrl-C must not leave the cluster behind
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
# The sample site has a local address, which a worker refuses unless it is named. An earlier demo's pages make room.
sheaf load "$work/urls.txt" -o pages.warc.gz --allow-net 127.0.0.1/32 --replace
rm -rf "$output".replaced-*
sheaf verify "$output"

cat <<END

The pages are in $output: one file, $(du -h "$output" | cut -f1), readable by every WARC tool.
Look at one:        .venv/bin/sheaf --data "$data" get pages.warc.gz 0 | less
Load your own list: make load URLS=my.txt            (one URL a line)
Another format:     make load URLS=my.txt OUTPUT=pages.html   (or .jsonl, .txt, .warc)
In containers:      make up WORKERS=4                (README.md, "In containers")
END
