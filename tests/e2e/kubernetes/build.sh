#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh: builds the Kubernetes and the etcd that go.mod beside it names, once for each go.mod, and prints the folder
# they are in: etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet pause.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../lib/common.sh"
here=$repo/tests/e2e/kubernetes

# version_of MODULE
version_of() {
    awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' "$here/go.mod"
}

kubernetes=$(version_of k8s.io/kubernetes)
# one folder for each go.mod
target=$cache/kube/$kubernetes-$(sha256sum <"$here/go.mod" | cut -c1-12)

# what `kubectl version`, the API's /version and so Helm's .Capabilities.KubeVersion say
stamp() {
    local package minor=${kubernetes#v1.}
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf ' -X %s.gitVersion=%s -X %s.gitMajor=1 -X %s.gitMinor=%s' \
            $package "$kubernetes" $package $package "${minor%%.*}"
    done
}

# build: what an interrupted build has left is taken up again
build() {
    local work=$target.part go package name packages
    [ ! -d "$target" ] || return 0
    go=$("$repo/tests/lib/gotool.sh" go)
    mkdir -p "$work"
    cd "$here"
    # -p=2, and kindly: a package may want 2 GiB, the linker too. GOGC: a third less time for memory that is there
    export GOGC=400 GOFLAGS='-p=2 -buildvcs=false -mod=readonly' GOTOOLCHAIN=auto CGO_ENABLED=0
    mapfile -t packages < <(sed -n '/^tool (/,/^)/s/^\t//p' go.mod)
    for package in "${packages[@]}"; do
        name=${package##*/}
        # the etcd module's program is in its folder server/v3
        [ "$name" != v3 ] || name=etcd
        say "building $name for Kubernetes $kubernetes"
        nice -n 10 timeout 2400 "$go" build -trimpath -ldflags "-s -w$(stamp)" -o "$work/$name" "$package" >&2 ||
            die "$name does not build, or not within 40 minutes; see above"
    done
    musl-gcc -static -Os -s -o "$work/pause" "$("$go" list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c" ||
        die "pause does not build; see above"
    mv "$work" "$target"
}

[ -d "$target" ] || with_lock kube build
printf '%s\n' "$target"
