#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# compose.sh WORD...: docker compose, version 2 or newer: the machine's own, or that of Debian 13 out of the cache.
# compose.sh --plugin: prints where that of Debian 13 is, for a folder of Docker's plugins.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
# shellcheck source=tests/lib/debian.sh
. "$repo/tests/lib/debian.sh"

program=$cache/compose/usr/libexec/docker/cli-plugins/docker-compose

fetch_compose() {
    local dir=$cache/compose
    [ ! -x "$program" ] || return 0
    say "fetching docker-compose of Debian 13"
    debian_configure trixie
    rm -rf "$dir.new"
    mkdir -p "$dir.new"
    (cd "$dir.new" && debian_apt trixie apt-get -qq download docker-compose >&2) ||
        die "cannot download docker-compose from $(debian_mirror)"
    for deb in "$dir.new"/*.deb; do
        dpkg-deb -x "$deb" "$dir.new"
        rm "$deb"
    done
    rm -rf "$dir"
    mv "$dir.new" "$dir"
}

if [ "${1-}" = --plugin ]; then
    with_lock compose fetch_compose
    printf '%s\n' "$program"
    exit 0
fi
if docker compose version >/dev/null 2>&1; then
    exec docker compose "$@"
fi
with_lock compose fetch_compose
exec "$program" "$@"
