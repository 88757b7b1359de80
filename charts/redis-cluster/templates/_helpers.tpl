{{/* The StatefulSet's name, and the stem of all others. */}}
{{- define "redis-cluster.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "redis-cluster.headless" -}}
{{ include "redis-cluster.fullname" . }}-headless
{{- end -}}

{{/* What never changes in the life of a release: the StatefulSet's selector cannot. */}}
{{- define "redis-cluster.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "redis-cluster.labels" -}}
{{ include "redis-cluster.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: muster
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* metadata of every object but the pods: (dict "root" $ "name" NAME "annotations" {} "labels" {}) */}}
{{- define "redis-cluster.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "redis-cluster.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "redis-cluster.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .version .image.tag }}
{{- end -}}
{{- end -}}

{{- define "redis-cluster.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "redis-cluster.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* How the server's image is laid out, as YAML: command, dataDir, cli. */}}
{{- define "redis-cluster.layout" -}}
{{- $layouts := dict
  "redis"          (dict "command" (list "docker-entrypoint.sh" "redis-server") "dataDir" "/data" "cli" "redis-cli")
  "valkey"         (dict "command" (list "docker-entrypoint.sh" "valkey-server") "dataDir" "/data" "cli" "valkey-cli")
  "bitnami-redis"  (dict "command" (list "/opt/bitnami/redis/bin/redis-server") "dataDir" "/bitnami/redis/data" "cli" "redis-cli")
  "bitnami-valkey" (dict "command" (list "/opt/bitnami/valkey/bin/valkey-server") "dataDir" "/bitnami/valkey/data" "cli" "valkey-cli")
  "custom"         (dict "command" .Values.server.command "dataDir" .Values.server.dataDir "cli" "redis-cli")
-}}
{{- toYaml (get $layouts .Values.server.layout) -}}
{{- end -}}

{{- define "redis-cluster.authSecret" -}}
{{ default (printf "%s-auth" (include "redis-cluster.fullname" .)) .Values.auth.existingSecret }}
{{- end -}}

{{- define "redis-cluster.nativeSidecar" -}}
{{- $new := semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version -}}
{{- if or (eq .Values.agent.sidecar "native") (and (eq .Values.agent.sidecar "auto") $new) -}}true{{- end -}}
{{- end -}}

{{- define "redis-cluster.serverName" -}}
{{ default (printf "%s.%s.svc" (include "redis-cluster.fullname" .) .Release.Namespace) .Values.redis.tls.serverName }}
{{- end -}}
