#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# init.sh [SERVER-ARGUMENT...]: the first process of the image muster-redis. Runs the agent and, through its gate, the
# server; starts again what ends; reaps what others leave behind. On SIGTERM the server is drained, then stopped, and
# the agent last. Environment: SERVER (redis-server or valkey-server); the agent's own, MUSTER_*.
set -u

config=/etc/muster/redis.conf
password_config=/run/muster/password.conf
drain_silent_seconds=5
agent='' server='' stopping=''

say() {
    printf 'level=info program=muster-init msg="%s"\n' "$*" >&2
}

# The server takes a password from a file only; as an argument every process of the host could read it.
write_password() {
    local password
    password=$(sed 's/[\\"]/\\&/g' "$MUSTER_REDIS_PASSWORDFILE") || exit 1
    (
        umask 077
        printf 'requirepass "%s"\nmasterauth "%s"\n' "$password" "$password" >"$password_config"
    )
}

start_agent() {
    muster agent &
    agent=$!
}

start_server() {
    local words=("$SERVER" "$config")
    if [ -n "${MUSTER_REDIS_PASSWORDFILE-}" ]; then
        write_password
        words+=(--include "$password_config")
    fi
    muster-hook start -- "${words[@]}" "$@" &
    server=$!
}

stop() {
    stopping=yes
    trap '' TERM INT
    say "draining"
    muster-hook drain --silent-seconds "$drain_silent_seconds" &
    wait $!
    kill -TERM "$server" 2>/dev/null
    wait "$server"
    local status=$?
    kill -TERM "$agent" 2>/dev/null
    wait "$agent"
    say "stopped, the server with status $status"
    exit "$status"
}

trap stop TERM INT
start_agent
start_server "$@"
while [ -z "$stopping" ]; do
    wait -n -p ended "$agent" "$server"
    status=$?
    case ${ended-} in
        "$agent")
            # 2: its configuration is wrong, and will be again
            [ "$status" != 2 ] || exit 2
            say "the agent ended with status $status; it starts again"
            sleep 1 &
            wait $!
            start_agent
            ;;
        "$server")
            say "the server ended with status $status; it starts again"
            sleep 1 &
            wait $!
            start_server "$@"
            ;;
    esac
done
