#!/bin/sh
# Publishes one event and prints its id: sh publish.sh DESTINATION JSON
# Where Redis is, the user and the password come from REDIS_URL, REDIS_USER and REDISCLI_AUTH.
exec redis-cli -e -u "${REDIS_URL:-redis://127.0.0.1:6379/0}" --user "${REDIS_USER:-default}" \
    XADD "airyd:$1" MAXLEN '~' 10000 '*' payload "$2"
