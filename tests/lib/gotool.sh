#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# gotool.sh NAME...: prints the path of each Go program, built from its module at the version below when it is asked for
# the first time. NAME: helm kubeconform kube-score, or go: the Go itself. GOTOOL_NICE is the niceness of the build (0).

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/lib/debian.sh
. "$repo/tests/lib/debian.sh"

# name, package, version
table='
helm         helm.sh/helm/v3/cmd/helm                v3.19.0
kubeconform  github.com/yannh/kubeconform/cmd/kubeconform  v0.7.0
kube-score   github.com/zegl/kube-score/cmd/kube-score     v1.20.0
'
# what these modules ask for; a newer toolchain than this one go fetches by itself
go_minimum=1.24

# go_is_new PROGRAM
go_is_new() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null) || return 1
    [ "$(printf '%s\n' "$go_minimum" "${version#go}" | sort -V | head -n 1)" = "$go_minimum" ]
}

# fetch_go: Debian 13's Go, unpacked below the cache.
fetch_go() {
    local dir=$cache/go/debian
    [ ! -x "$dir/usr/lib/go-1.24/bin/go" ] || return 0
    say "fetching Go of Debian 13"
    debian_configure trixie
    rm -rf "$dir.new"
    mkdir -p "$dir.new"
    (cd "$dir.new" && debian_apt trixie apt-get -qq download golang-1.24-go golang-1.24-src >&2) ||
        die "cannot download Go from $(debian_mirror)"
    for deb in "$dir.new"/*.deb; do
        dpkg-deb -x "$deb" "$dir.new"
        rm "$deb"
    done
    # its GOROOT leads to /usr/share by links that are absolute or relative, by part
    for link in "$dir.new"/usr/lib/go-1.24/*; do
        [ ! -L "$link" ] || ln -sfn "$dir/usr/share/go-1.24/${link##*/}" "$link"
    done
    rm -rf "$dir"
    mv "$dir.new" "$dir"
}

# find_go: prints the path of a Go that is new enough.
find_go() {
    local candidate
    for candidate in "$(command -v go || true)" /usr/local/go/bin/go; do
        if [ -x "$candidate" ] && go_is_new "$candidate"; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    with_lock go fetch_go
    printf '%s\n' "$cache/go/debian/usr/lib/go-1.24/bin/go"
}

# build NAME PACKAGE VERSION
build() {
    local name=$1 package=$2 version=$3 go bin=$cache/go/bin log=$cache/go/$1.log
    [ ! -x "$bin/$name-$version" ] || return 0
    mkdir -p "$bin"
    go=$(find_go)
    say "building $name $version"
    # CGO off: the programs run on every machine, and no compiler is asked for
    GOBIN=$bin/$name.new CGO_ENABLED=0 GOTOOLCHAIN=auto GOFLAGS=-modcacherw HOME=${HOME:-$cache/go} \
        nice -n "${GOTOOL_NICE:-0}" timeout 1800 "$go" install -ldflags='-s -w' "$package@$version" >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        die "$name does not build, or not within 30 minutes: see $log"
    }
    mv "$bin/$name.new/$name" "$bin/$name-$version"
    rmdir "$bin/$name.new"
}

for name; do
    if [ "$name" = go ]; then
        find_go
        continue
    fi
    row=$(awk -v name="$name" '$1 == name' <<<"$table")
    [ -n "$row" ] || die "unknown tool '$name'; the names are: $(awk 'NF { print $1 }' <<<"$table" | paste -sd' ')"
    read -r _ package version <<<"$row"
    with_lock "go-$name" build "$name" "$package" "$version"
    printf '%s\n' "$cache/go/bin/$name-$version"
done
