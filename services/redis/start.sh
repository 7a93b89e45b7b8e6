#!/bin/sh
# Fills the passwords' hashes into the list of users, then becomes redis-server. The list is part of this image, so a
# changed list changes the image, and `docker compose up` restarts Redis with it.
set -eu
acl=$(cat /etc/sheaf/users.acl.tmpl)
for file in /creds/*.sha256; do
    role=$(basename "$file" .sha256)
    acl=$(printf '%s\n' "$acl" | sed "s/{$role}/#$(cat "$file")/")
done
printf '%s\n' "$acl" >/tmp/users.acl
exec redis-server /etc/sheaf/redis.conf "$@"
