#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh [GROUP...]: makes a Debian 12, Debian 13 or Ubuntu (22.04, 24.04) machine able to do the work of the groups.
#   build              a compiler and the libraries
#   lab                what the embedded Kubernetes of tests/lab needs
#   test               build, lab, and every tool of tests/run.sh (the default)
#   e2e                build, lab, and what the Kubernetes of tests/e2e and the images for it need
#   servers NAME...    Redis and Valkey servers, see server.sh
# Needs root or sudo, and only for packages that are missing. Takes well under a second when nothing is.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/lib/debian.sh
. "$repo/tests/lib/debian.sh"

# a|b: the first that the release has
build_packages=(gcc libc6-dev cmake ninja-build pkg-config musl-tools git libcurl4-openssl-dev libcjson-dev
    libyaml-dev libevent-dev libssl-dev)
lab_packages=(python3 iproute2 iptables procps util-linux openssl)
test_packages=(clang clang-tidy 'libclang-rt-dev|libclang-rt-14-dev|libclang-common-14-dev' cppcheck libcmocka-dev
    gcovr shellcheck yamllint pyflakes3 python3-yaml debian-archive-keyring)
# containerd.io, docker-ce: Docker's own packages, where somebody has installed those
e2e_packages=('containerd|containerd.io' 'runc|containerd.io' containernetworking-plugins 'docker.io|docker-ce'
    debootstrap debian-archive-keyring conntrack ethtool kmod)

hiredis_minimum=1.1
hiredis_prefix=$cache/hiredis

# installed PACKAGE[|PACKAGE...]
installed() {
    local name
    for name in ${1//|/ }; do
        [ "${status_of[$name]-}" = installed ] && return 0
    done
    return 1
}

# missing_packages SPEC...: prints the specs of which nothing is installed.
missing_packages() {
    local spec name state
    local -A status_of=()
    while read -r name state; do
        status_of[${name%%:*}]=$state
    done < <(printf '%s\n' "$@" | tr '|' '\n' |
        xargs dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null)
    for spec in "$@"; do
        installed "$spec" || printf '%s\n' "$spec"
    done
}

apt_update() {
    as_root apt-get -qq update >&2
}

# choose SPEC: the first package of a|b that this release has; fails when none.
choose() {
    local name
    for name in ${1//|/ }; do
        if [ -n "$(apt-cache show --no-all-versions "$name" 2>/dev/null)" ]; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    return 1
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 install "$@" >"$cache/apt-install.log" 2>&1
}

# need SPEC...: installs what is missing.
need() {
    local missing names=() spec name
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "this machine has no apt-get; install by hand: ${missing[*]}"
    if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mmin -1440 2>/dev/null)" ]; then
        retry 5 apt_update || die "'apt-get update' fails; see what it says above"
    fi
    for spec in "${missing[@]}"; do
        name=$(choose "$spec") ||
            die "this release has no package ${spec//|/ or }; is its component (Ubuntu: universe) switched off?"
        names+=("$name")
    done
    say "installing ${names[*]}"
    apt_install "${names[@]}" && return 0
    retry 5 apt_update || die "'apt-get update' fails; see what it says above"
    apt_install "${names[@]}" && return 0
    tail -n 20 "$cache/apt-install.log" >&2
    die "'apt-get install ${names[*]}' fails; see above and $cache/apt-install.log"
}

# hiredis_usable: whether pkg-config finds a hiredis that is new enough and has TLS.
hiredis_usable() {
    PKG_CONFIG_PATH=$hiredis_prefix/lib/pkgconfig pkg-config --exists \
        "hiredis >= $hiredis_minimum" "hiredis_ssl >= $hiredis_minimum"
}

# hiredis_build: Debian 13's source, static and with TLS, below the cache. Takes two seconds.
hiredis_build() {
    local work=$cache/hiredis.part log=$cache/hiredis.log
    ! hiredis_usable || return 0
    [ -r "$debian_keyring" ] || need debian-archive-keyring
    debian_configure trixie
    say "building hiredis of Debian 13"
    rm -rf "$work"
    mkdir -p "$work/source"
    (cd "$work" && debian_apt trixie apt-get -qq source --download-only hiredis >"$log" 2>&1) ||
        die "cannot download the source of hiredis from $(debian_mirror): see $log"
    tar -x -f "$work"/hiredis_*.orig.tar.* -C "$work/source" --strip-components=1
    {
        cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
            -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_SHARED_LIBS=OFF -DENABLE_SSL=ON -DDISABLE_TESTS=ON \
            -DCMAKE_INSTALL_PREFIX="$hiredis_prefix" -DCMAKE_INSTALL_LIBDIR=lib &&
            cmake --build "$work/build" &&
            rm -rf "$hiredis_prefix" &&
            cmake --install "$work/build"
    } >"$log" 2>&1 || die "hiredis does not build: see $log"
    rm -rf "$work"
    hiredis_usable || die "the hiredis just built is not found by pkg-config: see $log"
}

setup_hiredis() {
    local candidate
    ! hiredis_usable || return 0
    candidate=$(apt-cache policy libhiredis-dev 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
    if [ -n "$candidate" ] && dpkg --compare-versions "$candidate" ge "$hiredis_minimum"; then
        need libhiredis-dev
        ! hiredis_usable || return 0
    fi
    with_lock hiredis hiredis_build
}

# setup_clang_format: the format check is made for one version, so that it says the same on every machine.
setup_clang_format() {
    ! command -v clang-format-14 >/dev/null || return 0
    if choose clang-format-14 >/dev/null; then
        need clang-format-14
        return 0
    fi
    "$repo/tests/lib/server.sh" clang-format-14 >/dev/null
}

setup_build() {
    need "${build_packages[@]}"
    setup_hiredis
}

setup_group() {
    case $1 in
        build) setup_build ;;
        lab) need "${lab_packages[@]}" ;;
        test)
            need "${build_packages[@]}" "${lab_packages[@]}" "${test_packages[@]}"
            setup_hiredis
            setup_clang_format
            ;;
        e2e)
            need "${build_packages[@]}" "${lab_packages[@]}" "${e2e_packages[@]}"
            # Debian 13 keeps it apart from the engine
            command -v docker >/dev/null || need docker-cli
            ;;
        *) die "unknown group '$1'; the groups are: build lab test e2e, and 'servers NAME...'" ;;
    esac
}

[ $# -gt 0 ] || set -- test
while [ $# -gt 0 ]; do
    if [ "$1" = servers ]; then
        shift
        for name; do
            "$repo/tests/lib/server.sh" "$name" >/dev/null
        done
        break
    fi
    setup_group "$1"
    shift
done
