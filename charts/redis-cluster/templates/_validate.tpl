{{/* What a schema cannot say: one sentence for each mistake that would only show when the pods run. */}}
{{- define "redis-cluster.validate" -}}
{{- $perShard := int (add 1 .Values.cluster.replicasPerPrimary) -}}
{{- if lt (int .Values.replicas) $perShard -}}
{{- fail (printf "replicas: %d pods make no shard of one primary and %d replicas (cluster.replicasPerPrimary); use %d or more, 3 shards need %d" (int .Values.replicas) (int .Values.cluster.replicasPerPrimary) $perShard (mul 3 $perShard)) -}}
{{- end -}}
{{- if gt (len (include "redis-cluster.fullname" .)) 40 -}}
{{- fail (printf "fullnameOverride: %s is longer than 40 characters, which pods, their labels and the record need" .Values.fullnameOverride) -}}
{{- end -}}
{{- if gt (int .Values.redis.port) 55535 -}}
{{- fail (printf "redis.port: %d leaves no room for the cluster bus at %d; use 55535 or less" (int .Values.redis.port) (add 10000 .Values.redis.port)) -}}
{{- end -}}
{{- if has (int .Values.http.port) (list (int .Values.redis.port) (int (add 10000 .Values.redis.port))) -}}
{{- fail (printf "http.port: %d is the server's; agent and server share the pod's address" (int .Values.http.port)) -}}
{{- end -}}
{{- if and .Values.redis.tls.enabled (not .Values.redis.tls.existingSecret) -}}
{{- fail "redis.tls.existingSecret: name the secret with tls.crt, tls.key and ca.crt; with cert-manager it is the Certificate's secretName" -}}
{{- end -}}
{{- if and .Values.auth.acl.existingSecret (not .Values.redis.username) -}}
{{- fail "redis.username: name the user of the ACL file as whom agents and replicas log in; its password is the one of auth" -}}
{{- end -}}
{{- if and .Values.redis.username (not .Values.auth.enabled) -}}
{{- fail "redis.username: a user needs a password: set auth.enabled and auth.existingSecret" -}}
{{- end -}}
{{- if and .Values.redis.username (not .Values.auth.existingSecret) -}}
{{- fail "auth.existingSecret: with redis.username the password is that user's, which only you know; put it into a secret" -}}
{{- end -}}
{{- if and (eq .Values.server.layout "custom") (or (not .Values.server.command) (not .Values.server.dataDir)) -}}
{{- fail "server.layout: custom needs server.command (the words that start the server) and server.dataDir" -}}
{{- end -}}
{{- if and (ne .Values.server.layout "custom") (or .Values.server.command .Values.server.dataDir) -}}
{{- fail (printf "server.command, server.dataDir: layout %s has its own; for another image set server.layout: custom" .Values.server.layout) -}}
{{- end -}}
{{- if and (not .Values.rbac.create) .Values.rbac.nodes -}}
{{- fail "rbac.nodes: needs rbac.create" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name: name the account that the agents use, or let the chart make one; 'default' would give every pod of the namespace their rights" -}}
{{- end -}}
{{- if and (eq .Values.agent.sidecar "native") (not (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version)) -}}
{{- fail (printf "agent.sidecar: native needs Kubernetes 1.29, this is %s; use auto" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if eq (int .Values.serverUser) (int .Values.agentUser) -}}
{{- fail "serverUser, agentUser: must differ, so that a server that was broken into cannot touch the agent" -}}
{{- end -}}
{{- end -}}
