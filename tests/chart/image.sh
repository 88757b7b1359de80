#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# image.sh [TAG]: builds the agent's image from the last commit as TAG (muster:VERSION), asserts what the Dockerfile
# promises and prints its compressed size. Needs a Docker engine.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$repo"

bytes_max=$((30 * 1000 * 1000))
version=$(sed -n 's/^project(muster VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
tag=${1:-muster:$version}
revision=$(git rev-parse --short=12 HEAD)

# inspected FORMAT
inspected() {
    docker image inspect --format "$1" "$tag"
}

# is WHAT FOUND EXPECTED
is() {
    [ "$2" = "$3" ] || die "$1 of $tag is '$2' and should be '$3'"
}

tests/chart/base-image.sh
# the commit, not the work tree: what is half done there is no part of it
git archive HEAD | docker build --quiet --tag "$tag" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --build-arg "CREATED=$(git log -1 --format=%cI)" - >&2

is 'the user' "$(inspected '{{.Config.User}}')" 10003:10001
is 'the label version' "$(inspected '{{index .Config.Labels "org.opencontainers.image.version"}}')" "$version"
is 'the label revision' "$(inspected '{{index .Config.Labels "org.opencontainers.image.revision"}}')" "$revision"
run=(docker run --rm --read-only --network none --cap-drop ALL)
is 'the version' "$("${run[@]}" "$tag" version)" "muster $version ($revision)"
"${run[@]}" --entrypoint muster-hook "$tag" --version | grep -q "^muster-hook $version ($revision)" ||
    die "$tag has no muster-hook of $version"
! "${run[@]}" --entrypoint /bin/sh "$tag" -c true 2>/dev/null || die "$tag has a shell"
# the hook runs in any image only if it asks for no library
container=$(docker create "$tag")
trap 'docker rm "$container" >/dev/null' EXIT
docker cp "$container:/usr/bin/muster-hook" - | tar -x -O | LC_ALL=C grep -q -a 'ld-linux\|ld-musl' &&
    die "muster-hook of $tag wants a dynamic loader"

bytes=$(docker save "$tag" | gzip -9 | wc -c)
printf '%s: %d.%d MB compressed\n' "$tag" $((bytes / 1000000)) $((bytes % 1000000 / 100000))
[ "$bytes" -le "$bytes_max" ] || die "$tag is larger than $((bytes_max / 1000000)) MB"
