#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# with-docker.sh COMMAND...: runs COMMAND with a Docker engine. Where none answers one is started for that long, whose
# images stay below the cache; needs the packages of `setup.sh e2e`. Exit: the command's.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

[ $# -gt 0 ] || die "what is to be run?"
command -v docker >/dev/null || die "there is no docker: tests/lib/setup.sh e2e"
if docker version >/dev/null 2>&1; then
    exec "$@"
fi
[ -z "${DOCKER_HOST-}" ] || die "no Docker engine answers at $DOCKER_HOST"
command -v dockerd >/dev/null || die "there is no dockerd: tests/lib/setup.sh e2e"

# a socket's path has at most 107 bytes
run=$(mktemp -d /tmp/docker.XXXXXX)
log=$cache/dockerd.log
export DOCKER_HOST=unix://$run/docker.sock
as_root dockerd --host "$DOCKER_HOST" --data-root "$cache/docker" --exec-root "$run/exec" --pidfile "$run/pid" \
    >"$log" 2>&1 &
engine=$!

# shellcheck disable=SC2317 # called by the trap
end() {
    # the engine itself, which may be a child of sudo
    as_root kill "$(cat "$run/pid" 2>/dev/null || printf %s "$engine")" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    as_root rm -rf "$run"
}
trap end EXIT
until_seconds=$((SECONDS + 90))
until docker version >/dev/null 2>&1; do
    if ! kill -0 "$engine" 2>/dev/null || [ "$SECONDS" -gt "$until_seconds" ]; then
        tail -n 5 "$log" >&2
        die "dockerd does not start, as where a sandbox forbids namespaces or iptables: see $log"
    fi
    sleep 0.2
done
"$@"
