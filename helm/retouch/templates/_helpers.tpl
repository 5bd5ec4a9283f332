{{/* Names, labels, and what several templates compute. */}}

{{- define "retouch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for "-headless" and for the ordinal and the hash that Kubernetes adds to a StatefulSet's names. */}}
{{- define "retouch.fullname" -}}
{{- $name := include "retouch.name" . }}
{{- $default := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $default .Values.fullnameOverride | trunc 42 | trimSuffix "-" }}
{{- end }}

{{- define "retouch.instanceLabels" -}}
app.kubernetes.io/name: {{ include "retouch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Takes root and component. */}}
{{- define "retouch.selectorLabels" -}}
{{ include "retouch.instanceLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* What the pods are, with spaces between: one server, or what answers calls and what runs jobs. */}}
{{- define "retouch.components" -}}
{{- .Values.api.enabled | ternary "api worker" "server" }}
{{- end }}

{{/* The one that answers calls, and the one that runs jobs. */}}
{{- define "retouch.answering" -}}
{{- .Values.api.enabled | ternary "api" "server" }}
{{- end }}
{{- define "retouch.running" -}}
{{- .Values.api.enabled | ternary "worker" "server" }}
{{- end }}

{{/* Name of a component's objects; takes root and component. */}}
{{- define "retouch.componentName" -}}
{{- $name := include "retouch.fullname" .root }}
{{- eq .component "server" | ternary $name (printf "%s-%s" $name .component) }}
{{- end }}

{{/* Whether jobs are kept by NATS, and whether by a volume. */}}
{{- define "retouch.nats" -}}
{{- if eq .Values.engine.kind "nats" }}true{{ end }}
{{- end }}
{{- define "retouch.persistent" -}}
{{- if and .Values.persistence.enabled (not (include "retouch.nats" .)) }}true{{ end }}
{{- end }}

{{- define "retouch.commonLabels" -}}
app.kubernetes.io/name: {{ include "retouch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "retouch.labels" -}}
{{ include "retouch.commonLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{/* The same of one component; takes root and component. */}}
{{- define "retouch.componentLabels" -}}
{{ include "retouch.commonLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "retouch.testLabels" -}}
{{ include "retouch.instanceLabels" . }}
app.kubernetes.io/component: test
{{- end }}

{{- define "retouch.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "retouch.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "retouch.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- $suffix := eq $.Values.model.device "cuda" | ternary "-cuda" "" }}
{{- printf "%s:%s" .repository (default (print $.Chart.AppVersion $suffix) .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Replicas that run jobs, at most and at least. */}}
{{- define "retouch.maxReplicas" -}}
{{- if .Values.keda.enabled }}
{{- int .Values.keda.maxReplicas }}
{{- else }}
{{- .Values.hpa.enabled | ternary .Values.hpa.maxReplicas .Values.replicaCount | int }}
{{- end }}
{{- end }}
{{- define "retouch.minReplicas" -}}
{{- if .Values.keda.enabled }}
{{- int .Values.keda.minReplicas }}
{{- else }}
{{- .Values.hpa.enabled | ternary .Values.hpa.minReplicas .Values.replicaCount | int }}
{{- end }}
{{- end }}

{{/* Jobs that a pod runs at once. */}}
{{- define "retouch.slots" -}}
{{- $cuda := eq .Values.model.device "cuda" }}
{{- $each := kindIs "invalid" .Values.model.maxBatch | ternary ($cuda | ternary 8 1) .Values.model.maxBatch | int }}
{{- mul $each ($cuda | ternary (int .Values.gpu.count) 1) }}
{{- end }}

{{/* Seconds of a duration such as 25s, 10m or 1h30m, rounded up; the schema admits no other form. */}}
{{- define "retouch.seconds" -}}
{{- $milliseconds := 0 }}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" . -1 }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- $milliseconds = add $milliseconds (mul (trimSuffix $unit . | int64) (get $units $unit)) }}
{{- end }}
{{- div (add $milliseconds 999) 1000 }}
{{- end }}

{{/* Bytes of a quantity such as 20Gi, 500M or 1.5Ti. */}}
{{- define "retouch.bytes" -}}
{{- $quantity := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $quantity }}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- mulf (trimSuffix $unit $quantity | float64) (get $units $unit) | floor | int64 }}
{{- end }}

{{- define "retouch.terminationSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- add .Values.preStopSeconds (include "retouch.seconds" .Values.server.drainTimeout) 10 }}
{{- else }}
{{- int .Values.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}

{{/* Scheme and address that a client inside the cluster dials. */}}
{{- define "retouch.url" -}}
{{- printf "%s://%s.%s.svc:%d" (.Values.tls.enabled | ternary "https" "http") (include "retouch.fullname" .) .Release.Namespace (int .Values.server.port) }}
{{- end }}

{{/* The same of each pod by itself. */}}
{{- define "retouch.headlessUrl" -}}
{{- printf "%s://%s-headless.%s.svc:%d" (.Values.tls.enabled | ternary "https" "http") (include "retouch.fullname" .) .Release.Namespace (int .Values.server.port) }}
{{- end }}

{{/* Whether the pod of `helm test` is told what it needs. */}}
{{- define "retouch.helmTest" -}}
{{- $closed := or .Values.auth.existingSecret .Values.tls.clientAuth }}
{{- if and .Values.helmTest.enabled (or (not $closed) .Values.helmTest.extraArgs .Values.helmTest.extraEnv) }}true{{ end }}
{{- end }}

{{/* Ports of the NATS servers, each once, with spaces between. */}}
{{- define "retouch.natsPorts" -}}
{{- $ports := list }}
{{- range .Values.engine.nats.urls }}
{{- $ports = append $ports (regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default "4222") }}
{{- end }}
{{- $ports | default (list "4222") | uniq | join " " }}
{{- end }}
