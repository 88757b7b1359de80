#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [TEST...]: the end-to-end tests (tests/e2e/test_*.py, or those named), on a real Kubernetes.
# Without KUBECONFIG: on one of three nodes that is started on this machine for that long; nothing of it is left.
# With KUBECONFIG: on that cluster, whose nodes have or can pull the images (kind: `kind load docker-image`).
#
# Environment: E2E_KEEP=1 leaves the started cluster running (tests/e2e/cluster down ends it), E2E_VALUES=FILE further
# values for every installation, E2E_API_DOWN=SECONDS (90) without the API server in test_survive.py, E2E_LOGS=1 leaves
# all pods' logs in .cache/e2e-logs though nothing failed, MUSTER_NO_SETUP=1 (install nothing). Exit: 0 only if something ran and nothing failed.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
here=$repo/tests/e2e
# seconds for one test file; each of its own waits is shorter, this ends what nobody thought of
test_seconds=1200

[ $# -gt 0 ] || set -- "$here"/test_*.py
[ -x "$1" ] || die "there is no test $1"
if [ "${MUSTER_WITH_DOCKER-}" != 1 ]; then
    [ "${MUSTER_NO_SETUP-}" = 1 ] || "$repo/tests/lib/setup.sh" e2e
    # what this machine cannot do is said before half an hour of building
    if [ -z "${KUBECONFIG-}" ]; then
        "$here/cluster" able
        "$repo/tests/lib/with-docker.sh" true
        "$here/kubernetes/build.sh" >/dev/null
    fi
    # one engine for the images and all tests
    MUSTER_WITH_DOCKER=1 exec "$repo/tests/lib/with-docker.sh" "$0" "$@"
fi
HELM=${HELM:-$("$repo/tests/lib/gotool.sh" helm)}
export HELM

end() {
    if [ "${E2E_KEEP-}" = 1 ]; then
        say "the cluster is left running: KUBECONFIG=$KUBECONFIG; $here/cluster down ends it"
    else
        "$here/cluster" --state "$state" down
    fi
}

if [ -z "${KUBECONFIG-}" ]; then
    state=$cache/e2e
    KUBECTL=$("$here/kubernetes/build.sh")/kubectl
    export KUBECTL
    trap end EXIT
    KUBECONFIG=$("$here/cluster" --state "$state" up | sed 's/^KUBECONFIG=//')
    export KUBECONFIG E2E_STATE=$state
    "$here/images.sh" "$state" >&2
fi
export KUBECTL=${KUBECTL:-kubectl}
"$KUBECTL" version >&2 || die "no Kubernetes answers at KUBECONFIG=$KUBECONFIG"

bad=0
for test; do
    say "$test"
    start=$SECONDS
    timeout --kill-after=30 "$test_seconds" python3 "$test" || bad=1
    say "$test: $((SECONDS - start)) s"
done
exit $bad
