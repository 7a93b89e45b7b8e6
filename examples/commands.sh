#!/bin/sh
# A command for every item, as with xargs and GNU parallel: what each printed and its exit status, once, in one file.
#
#     $ sh examples/commands.sh
#     item,exit,stdout
#     apple,0,5
#     $(rm -rf ~),0,11
#     item,exit
#     /tmp,0
#     /no/such,1
#
# It needs a running cluster: `sheaf up`. In the stack workers run commands only if this is allowed:
#
#     SHEAF_ALLOW_EXEC=1 SHEAF_TASKS=./examples docker compose up -d --wait
#     docker compose run --rm --entrypoint sh python commands.sh
set -eu
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT

# --shell: a line for the shell; each item is one word in it, so that none is ever code.
printf '%s\n' 'apple' '$(rm -rf ~)' |
    sheaf exec - -o lengths.jsonl --shell -- 'printf %s {} | wc -c | tr -d "\n"' >&2
sheaf export lengths.jsonl "$copies/lengths.csv" --ordered --columns item,exit,stdout >&2
cat "$copies/lengths.csv"

# Without it no shell is involved. An exit status other than 0 is a failure, unless it is said to be none.
printf '%s\n' /tmp /no/such | sheaf exec - -o folders.jsonl --accept-exit 0,1 -- test -d {} >&2
sheaf export folders.jsonl "$copies/folders.csv" --ordered --columns item,exit >&2
cat "$copies/folders.csv"
