#!/bin/sh
# Gives Redis the library of functions, and says that it is there by making /tmp/loaded, on which the health check waits.
# It may be there already, from Redis's own file; what an older version of Sheaf has loaded stays, for workers that have not
# been replaced yet.
set -eu
library=$(sed -n '1s/.*name=//p' /etc/sheaf/library.lua)

ask() {
    redis-cli -e --no-auth-warning --user loader "$@"
}

load() {
    ask -x FUNCTION LOAD </etc/sheaf/library.lua
}

# 256 MB are full of what this version cannot take out before its functions are there: give them room of their own.
load_beyond_limit() {
    limit=$(ask CONFIG GET maxmemory | sed -n 2p)
    ask CONFIG SET maxmemory 0 >/dev/null
    load
    ask CONFIG SET maxmemory "$limit" >/dev/null
}

# While Redis loads its file, it answers with an error.
tries=0
until ask PING >/dev/null 2>&1; do sleep 0.2; done
until ask FUNCTION LIST LIBRARYNAME "$library" | grep -q .; do
    answer=$(load 2>&1) && continue
    case $answer in
        *OOM*) answer=$(load_beyond_limit 2>&1) && continue ;;
    esac
    [ $((tries % 30)) -ne 0 ] || echo "sheaf: the functions cannot be loaded, trying again: $answer" >&2
    tries=$((tries + 1))
    sleep 1
done
touch /tmp/loaded
