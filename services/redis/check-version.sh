#!/bin/sh
# Warns of a Redis whose Lua lets a script run code of its own (CVE-2025-49844). $1 is what `redis-server --version` says.
# A warning only: distributions fix the flaw without a new number, and only `admin` may load scripts here.
set -eu
number=$(printf '%s\n' "$1" | sed -n 's/.* v=\([0-9][0-9.]*\).*/\1/p')
case $1 in
    *alkey*) mended="7.2.11 8.0.6 8.1.4" ;;
    *) mended="6.2.20 7.2.11 7.4.6 8.0.4 8.2.2" ;;
esac
newest=${mended##* }

at_least() { # $1 is $2 or newer
    [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

wanted=$newest
for each in $mended; do
    case $number in "${each%.*}".*) wanted=$each ;; esac
done
if ! at_least "${number:-0}" "$wanted"; then
    echo "sheaf: Redis ${number:-of an unknown version} is older than $wanted: its Lua has a flaw (CVE-2025-49844) that lets" \
        "a user who may load scripts run code in the server, unless your distribution has fixed it. Pull a newer image and" \
        "build again: docker compose build --pull redis" >&2
fi
