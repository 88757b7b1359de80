{{/* The agent's container, native sidecar or plain. */}}
{{- define "redis-cluster.agent" -}}
- name: agent
  image: {{ include "redis-cluster.image" (dict "image" .Values.agent.image "version" .Chart.AppVersion) }}
  imagePullPolicy: {{ .Values.agent.image.pullPolicy }}
  args: [agent, --config, /etc/muster/conf/muster.yaml]
  env:
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    {{- with .Values.agent.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - {name: http, containerPort: {{ .Values.http.port }}, protocol: TCP}
  # its socket answers: needs neither the API nor a server nor a network, for a native sidecar holds up all that follow.
  # No readinessProbe: whether clients may come is the server's to say, and an agent that hangs changes nothing in that.
  startupProbe:
    exec: {command: [/usr/bin/muster-hook, agent]}
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 60
  livenessProbe:
    exec: {command: [/usr/bin/muster-hook, agent]}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  securityContext:
    {{- toYaml (merge (dict "runAsUser" (int .Values.agentUser)) .Values.containerSecurityContext) | nindent 4 }}
  resources:
    {{- toYaml .Values.agent.resources | nindent 4 }}
  volumeMounts:
    - {name: run, mountPath: /run/muster}
    - {name: agent-config, mountPath: /etc/muster/conf, readOnly: true}
    - {name: api, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
    {{- if .Values.auth.enabled }}
    - {name: password, mountPath: /etc/muster/password, readOnly: true}
    {{- end }}
    {{- if .Values.redis.tls.enabled }}
    - {name: tls, mountPath: /etc/muster/tls, readOnly: true}
    {{- end }}
{{- end -}}

{{/* How the server is started: through the gate, by the image's own words. */}}
{{- define "redis-cluster.serverCommand" -}}
{{- $root := .root -}}
{{- $start := concat (list "/hook/muster-hook" "start" "--silent-seconds" (int $root.Values.hook.silentSeconds | toString) "--")
      .layout.command (list "/etc/muster/conf/redis.conf") $root.Values.server.extraArgs -}}
{{- if $root.Values.auth.enabled -}}
# Redis takes a password from a file only; as an argument every process of the node could read it.
command:
  - /bin/sh
  - -euc
  - |
    umask 077
    password=$(sed 's/[\\"]/\\&/g' "/etc/muster/password/{{ $root.Values.auth.passwordKey }}")
    {{- if $root.Values.redis.username }}
    printf 'masterauth "%s"\n' "$password" >/run/muster-server/password.conf
    {{- else }}
    printf 'requirepass "%s"\nmasterauth "%s"\n' "$password" "$password" >/run/muster-server/password.conf
    {{- end }}
    unset password
    exec "$@"
  - start
{{- else -}}
command:
{{- end }}
{{- range $start }}
  - {{ . | quote }}
{{- end }}
{{- end -}}
