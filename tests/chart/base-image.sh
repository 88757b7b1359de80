#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# base-image.sh: makes sure that Docker has the Dockerfile's base image. Where it can be pulled it is; elsewhere
# debootstrap makes one of the same release from Debian's own packages, under the same name.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
# shellcheck source=tests/lib/debian.sh
. "$repo/tests/lib/debian.sh"

suite=trixie
image=debian:$suite-slim

make_image() {
    local root=$cache/base-image/$suite
    command -v debootstrap >/dev/null || die "needs debootstrap: tests/lib/setup.sh e2e"
    as_root rm -rf "$root"
    mkdir -p "$root"
    say "making $image from Debian's packages"
    as_root debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$(debian_mirror)" \
        >"$cache/base-image.log" 2>&1 || die "debootstrap fails: see $cache/base-image.log"
    # what the slim images leave out too
    as_root tar -C "$root" -c --exclude=./dev --exclude='./var/cache/apt/archives/*.deb' \
        --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
        --exclude='./usr/share/locale/*' . | docker import -c 'CMD ["bash"]' - "$image" >&2
    as_root rm -rf "$root"
}

docker version >/dev/null 2>&1 || die "there is no Docker engine here; start dockerd, or set DOCKER_HOST"
! docker image inspect "$image" >/dev/null 2>&1 || exit 0
timeout 120 docker pull -q "$image" >/dev/null 2>&1 || with_lock base-image make_image
