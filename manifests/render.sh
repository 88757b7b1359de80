#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# render.sh [--check]: makes the manifests from the chart; --check only says whether they are still what it makes.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../tests/lib/common.sh"
cd "$repo"

helm=${HELM:-$(tests/lib/gotool.sh helm)}
status=0

# render FILE HELM-OPTION...: without a password anyone who reaches a server may do anything, so only the pods of the
# same namespace do. What only Helm needs is left out.
render() {
    local file=manifests/$1 made
    shift
    made=$("$helm" template redis-cluster charts/redis-cluster --namespace redis-cluster --kube-version 1.29.0 "$@" |
        sed -E '/^ *(helm\.sh\/chart|app\.kubernetes\.io\/managed-by):/d; /^# Source:/d')
    made=$'# Made by manifests/render.sh from charts/redis-cluster: change that, not this.\n'$made
    if [ "${check-}" = yes ]; then
        diff -u "$file" - <<<"$made" >&2 || status=1
    else
        printf '%s\n' "$made" >"$file"
    fi
}

case ${1-} in
    '') ;;
    --check) check=yes ;;
    *) die "unknown option '$1'; there is --check" ;;
esac
render redis-cluster.yaml --set auth.enabled=false --set-json 'networkPolicy.clients=[{"podSelector": {}}]'
render with-password/redis-cluster.yaml --set auth.existingSecret=redis-cluster-auth
[ $status = 0 ] || die "the manifests are not what the chart makes now: run manifests/render.sh"
