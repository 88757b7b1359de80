#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# chart.sh: the chart and the manifests: Helm's own lint, the chart's promises (tests/chart), Kubernetes' schemas,
# kube-score, and whether the manifests are what the chart makes. The tools are built when they are used first.
# shellcheck source=tests/lint/files.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/files.sh"

kubernetes=v1.34.4 # whose schemas are asked
chart=charts/redis-cluster
schemas=$cache/kube-schemas/$kubernetes
mapfile -t tools < <(tests/lib/gotool.sh helm kubeconform kube-score)
export HELM=${tools[0]}
kubeconform=${tools[1]}
kube_score=${tools[2]}
promtool=$(tests/lib/server.sh promtool)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# make_schemas: from the OpenAPI file in Kubernetes' own Go module.
make_schemas() {
    local go module
    [ ! -d "$schemas" ] || return 0
    go=$(tests/lib/gotool.sh go)
    module=$("$go" mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    rm -rf "$schemas.new"
    /usr/bin/python3 tests/chart/schemas.py "$module/api/openapi-spec/swagger.json" "$schemas.new"
    mv "$schemas.new" "$schemas"
}

# render NAME HELM-OPTION...: one shape of the chart, for the checks below.
render() {
    local name=$1
    shift
    "$HELM" template shop "$chart" --namespace prod --kube-version 1.34.0 "$@" >"$made/$name.yaml"
}

"$HELM" lint --strict --quiet "$chart"
/usr/bin/python3 tests/chart/test_chart.py
/usr/bin/python3 tests/chart/test_metrics.py
"$promtool" check rules --lint-fatal "$chart/alerts.yaml"
"$promtool" test rules tests/chart/alerts_test.yaml
manifests/render.sh --check

render default
render plain --set agent.sidecar=plain
render everything --set redis.tls.enabled=true,redis.tls.existingSecret=tls,redis.username=muster \
    --set auth.existingSecret=auth,auth.acl.existingSecret=acl,rbac.nodes=true,persistence.annotations.a=b \
    --set-json 'networkPolicy.clients=[{"podSelector": {}}],networkPolicy.metrics=[{"namespaceSelector": {}}]' \
    --set-json 'extraVolumes=[{"name": "more", "emptyDir": {}}],tolerations=[{"operator": "Exists"}]' \
    --set-json 'server.extraVolumeMounts=[{"name": "more", "mountPath": "/more"}]' \
    --set 'imagePullSecrets[0].name=registry,priorityClassName=high,persistence.storageClass=-' \
    --set metrics.podMonitor.enabled=true,metrics.alerts.enabled=true
render volatile --set persistence.enabled=false,auth.enabled=false,server.layout=bitnami-valkey

with_lock kube-schemas make_schemas
# The Prometheus operator's kinds are not Kubernetes' own.
"$kubeconform" -strict -summary -skip PodMonitor,PrometheusRule -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" \
    "$made"/*.yaml manifests/namespace.yaml manifests/redis-cluster.yaml manifests/with-password/redis-cluster.yaml

# kube-linter is run by .github/workflows/chart.yml only: its module comes from its authors' own site, which a machine that
# reaches nothing but the package registries cannot ask.
#
# What kube-score would have otherwise, and why it is not so:
#   CPU limits: a throttled server is late for its elections, a throttled agent for its Lease; memory is limited.
#   container-image-pull-policy: IfNotPresent, so that a node starts a pod while the registry is away; tags are releases,
#   and image.digest pins them.
"$kube_score" score --kubernetes-version v1.34 --ignore-container-cpu-limit \
    --ignore-test container-image-pull-policy --enable-optional-test container-seccomp-profile \
    --enable-optional-test container-ports-check --exit-one-on-warning --output-format ci \
    "$made"/*.yaml manifests/redis-cluster.yaml manifests/with-password/redis-cluster.yaml
