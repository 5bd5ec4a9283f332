{{/* retouch.toml, without what is null. Numbers come as floats out of YAML: int64 keeps large ones from 1e+09. */}}
{{- define "retouch.toml" -}}
[server]
listen = "0.0.0.0:{{ int .Values.server.port }}"
ops_listen = "0.0.0.0:{{ int .Values.server.opsPort }}"
{{- include "retouch.number" (list "max_request_bytes" .Values.server.maxRequestBytes) }}
{{- include "retouch.number" (list "body_budget_bytes" .Values.server.bodyBudgetBytes) }}
{{- with .Values.server.stallTimeout }}
stall_timeout = {{ . | quote }}
{{- end }}
{{- include "retouch.number" (list "max_connections" .Values.server.maxConnections) }}
{{- include "retouch.number" (list "max_connections_per_address" .Values.server.maxConnectionsPerAddress) }}
drain_timeout = {{ .Values.server.drainTimeout | quote }}
connection_age = {{ .Values.server.connectionAge | quote }}
cors_origins = {{ .Values.server.corsOrigins | toJson }}
studio = {{ .Values.server.studio }}
hosts = {{ .Values.server.hosts | toJson }}
allow_anonymous = {{ .Values.auth.allowAnonymous }}
{{- if .Values.tls.enabled }}

[tls]
cert = "/etc/retouch/tls/tls.crt"
key = "/etc/retouch/tls/tls.key"
{{- if .Values.tls.clientAuth }}
client_ca = "/etc/retouch/tls/ca.crt"
{{- end }}
{{- end }}

[auth]
{{- if .Values.auth.existingSecret }}
keys_file = {{ printf "/etc/retouch/keys/%s" .Values.auth.key | quote }}
{{- end }}
{{- include "retouch.number" (list "requests_per_second" .Values.auth.requestsPerSecond) }}
{{- include "retouch.number" (list "burst" .Values.auth.burst) }}

[model]
{{- with .Values.model.path }}
path = {{ . | quote }}
{{- end }}
{{- with .Values.model.loras }}
loras = [
  {{- range . }}
  {{ printf "%s:%v" .file (hasKey . "weight" | ternary .weight 1) | quote }},
  {{- end }}
]
{{- end }}
{{- with .Values.model.previewDecoder }}
preview_decoder = {{ . | quote }}
{{- end }}
devices = {{ .Values.model.device | quote }}
dtype = {{ .Values.model.dtype | quote }}
{{- include "retouch.number" (list "threads" .Values.model.threads) }}
{{- include "retouch.number" (list "max_batch" .Values.model.maxBatch) }}
{{- if .Values.model.keepTextEncoder }}
keep_text_encoder = true
{{- end }}

[jobs]
{{- if not (include "retouch.nats" .) }}
data_dir = "/var/lib/retouch"
{{- end }}
queue_limit = {{ int64 .Values.jobs.queueLimit }}
{{- include "retouch.number" (list "tenant_queue_limit" .Values.jobs.tenantQueueLimit) }}
{{- include "retouch.number" (list "tenant_awaiting_limit" .Values.jobs.tenantAwaitingLimit) }}
queue_timeout = {{ .Values.jobs.queueTimeout | quote }}
run_timeout = {{ .Values.jobs.runTimeout | quote }}
default_ttl = {{ .Values.jobs.defaultTtl | quote }}
max_ttl = {{ .Values.jobs.maxTtl | quote }}
{{- if not (include "retouch.nats" .) }}
disk_quota_bytes = {{ int64 .Values.jobs.diskQuotaBytes }}
min_free_bytes = {{ int64 .Values.jobs.minFreeBytes }}
{{- else }}

[engine]
kind = "nats"
{{- with .Values.engine.nats.urls }}
nats_url = {{ join "," . | quote }}
{{- end }}
nats_prefix = {{ .Values.engine.nats.prefix | quote }}
nats_replicas = {{ int .Values.engine.nats.replicas }}
nats_max_bytes = {{ int64 .Values.engine.nats.maxBytes }}
{{- if .Values.engine.nats.credentialsKey }}
nats_credentials = "/etc/retouch/nats/credentials"
{{- end }}
{{- if .Values.engine.nats.nkeyKey }}
nats_nkey = "/etc/retouch/nats/nkey"
{{- end }}
{{- if .Values.engine.nats.tls.existingSecret }}
nats_tls_ca = "/etc/retouch/nats-tls/ca.crt"
{{- if .Values.engine.nats.tls.clientAuth }}
nats_tls_cert = "/etc/retouch/nats-tls/tls.crt"
nats_tls_key = "/etc/retouch/nats-tls/tls.key"
{{- end }}
{{- end }}
lease = {{ .Values.engine.lease | quote }}
{{- end }}

[log]
format = {{ .Values.log.format | quote }}
level = {{ .Values.log.level | quote }}
{{- with .Values.otlp.endpoint }}

[otlp]
endpoint = {{ . | quote }}
{{- end }}
{{- end }}

{{/* A line `key = number`, or nothing where it is null. */}}
{{- define "retouch.number" -}}
{{- $value := index . 1 }}
{{- if not (kindIs "invalid" $value) }}
{{ index . 0 }} = {{ int64 $value }}
{{- end }}
{{- end }}
