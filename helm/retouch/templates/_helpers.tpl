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

{{- define "retouch.selectorLabels" -}}
app.kubernetes.io/name: {{ include "retouch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
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

{{- define "retouch.testLabels" -}}
app.kubernetes.io/name: {{ include "retouch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
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

{{/* Replicas at most. */}}
{{- define "retouch.maxReplicas" -}}
{{- .Values.hpa.enabled | ternary .Values.hpa.maxReplicas .Values.replicaCount | int }}
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

{{/* Whether the pod of `helm test` is told what it needs. */}}
{{- define "retouch.helmTest" -}}
{{- $closed := or .Values.auth.existingSecret .Values.tls.clientAuth }}
{{- if and .Values.helmTest.enabled (or (not $closed) .Values.helmTest.extraArgs .Values.helmTest.extraEnv) }}true{{ end }}
{{- end }}
