#!/bin/sh
# Fills the passwords' hashes into the list of users, then becomes redis-server. List and library are part of this image,
# so a change of either changes the image, and `docker compose up` restarts Redis with it.
set -eu

acl=$(cat /etc/sheaf/users.acl.tmpl)
# Who loads the library has a password that is made at each start and known to this container alone.
loader=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
acl=$(printf '%s\n' "$acl" | sed "s/{loader}/#$(printf %s "$loader" | sha256sum | cut -d' ' -f1)/")
for file in /creds/*.sha256; do
    role=$(basename "$file" .sha256)
    acl=$(printf '%s\n' "$acl" | sed "s/{$role}/#$(cat "$file")/")
done
umask 077
printf '%s\n' "$acl" >/tmp/users.acl

/etc/sheaf/check-version "$(redis-server --version)"

# Twice in the background: the loader's end is then no business of redis-server, which collects only children that it knows.
rm -f /tmp/loaded
(REDISCLI_AUTH=$loader /etc/sheaf/load-library &)
unset loader
exec redis-server /etc/sheaf/redis.conf "$@"
