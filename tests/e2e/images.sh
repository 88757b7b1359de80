#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# images.sh [STATE]: makes sure that Docker has every image that the tests use, gives them to the cluster in STATE if one
# is named, and prints their names: muster:VERSION of this work tree, redis:7.0, redis:8.0, valkey/valkey:8.1. Those of the
# servers are pulled where that is possible; elsewhere they are made from Debian's packages.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
here=$repo/tests/e2e
version=$(awk '$1 == "appVersion:" { print $2 }' "$repo/charts/redis-cluster/Chart.yaml")

# image, kind, the Debian suite that has it, what `KIND-server --version` must say
servers='
redis:7.0          redis   bookworm  v=7\.0\.
redis:8.0          redis   trixie    v=8\.0\.
valkey/valkey:8.1  valkey  trixie    v=8\.1\.
'

log=$cache/images.log

build() {
    timeout 1200 docker build "$@" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        die "docker build $* fails; see $log"
    }
}

# server IMAGE KIND SUITE MATCH
server() {
    local line
    ! docker image inspect "$1" >/dev/null 2>&1 || return 0
    if timeout 120 docker pull -q "$1" >/dev/null 2>&1; then
        say "pulled $1"
        return 0
    fi
    say "making $1 from Debian's packages"
    "$repo/tests/chart/base-image.sh"
    build -t "$1.new" --build-arg KIND="$2" --build-arg SUITE="$3" "$here/images"
    line=$(docker run --rm --network none "$1.new" "$2-server" --version)
    grep -qE -- "$4" <<<"$line" || die "$2-server of Debian $3 is now '$line', which is not $1: name the version that it is"
    docker tag "$1.new" "$1"
    docker rmi "$1.new" >/dev/null
}

"$repo/tests/chart/base-image.sh"
say "making muster:$version"
build -t "muster:$version" "$repo"
names=("muster:$version")
while read -r image kind suite match; do
    [ -n "$image" ] || continue
    server "$image" "$kind" "$suite" "$match"
    names+=("$image")
done <<<"$servers"
[ -z "${1-}" ] || "$here/cluster" --state "$1" load "${names[@]}"
printf '%s\n' "${names[@]}"
