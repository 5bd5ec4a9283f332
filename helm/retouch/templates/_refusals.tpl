{{/* Fails the render with every reason at once: what would start, and then lose jobs or stand open, is not installed. */}}
{{- define "retouch.refusals" -}}
{{- $reasons := list }}
{{- $replicas := include "retouch.maxReplicas" . | int }}

{{- if and (gt $replicas 1) (not .Values.allowLocalJobs) }}
{{- $reasons = append $reasons (printf "%d replicas: jobs live in the pod that took them, and another replica answers NOT_FOUND. Stay at 1, or set allowLocalJobs=true if clients stay with one pod" $replicas) }}
{{- end }}
{{- if and .Values.hpa.enabled (gt (int .Values.hpa.minReplicas) (int .Values.hpa.maxReplicas)) }}
{{- $reasons = append $reasons "hpa.minReplicas is above hpa.maxReplicas" }}
{{- end }}
{{- if and (gt $replicas 1) .Values.persistence.enabled .Values.persistence.existingClaim }}
{{- $reasons = append $reasons (printf "%d replicas would share the journal in persistence.existingClaim, which belongs to one process: leave it empty, and each gets a claim" $replicas) }}
{{- end }}

{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- $reasons = append $reasons "tls.enabled without tls.existingSecret: name a Secret with tls.crt and tls.key" }}
{{- end }}
{{- if and .Values.tls.clientAuth (not .Values.tls.enabled) }}
{{- $reasons = append $reasons "tls.clientAuth without tls.enabled: certificates are only asked for on TLS" }}
{{- end }}
{{- if and .Values.tls.existingSecret (not .Values.tls.enabled) }}
{{- $reasons = append $reasons "tls.existingSecret without tls.enabled: the server would listen in plaintext" }}
{{- end }}
{{- if not (or .Values.auth.existingSecret .Values.auth.allowAnonymous) }}
{{- $reasons = append $reasons "no keys: the server listens on every interface. Name a Secret in auth.existingSecret, or set auth.allowAnonymous=true if whoever reaches the port may edit" }}
{{- end }}

{{- $drain := add .Values.preStopSeconds (include "retouch.seconds" .Values.server.drainTimeout) }}
{{- $grace := include "retouch.terminationSeconds" . | int64 }}
{{- if le $grace $drain }}
{{- $reasons = append $reasons (printf "terminationGracePeriodSeconds=%d does not exceed preStopSeconds and server.drainTimeout together, %d s: the pod would be killed while it drains" $grace $drain) }}
{{- end }}

{{- if and (eq .Values.model.device "cuda") (lt (int .Values.gpu.count) 1) }}
{{- $reasons = append $reasons "model.device=cuda without a GPU: set gpu.count=1" }}
{{- end }}
{{- if and (eq .Values.model.device "cpu") (gt (int .Values.gpu.count) 0) }}
{{- $reasons = append $reasons "gpu.count without model.device=cuda: the GPU would idle" }}
{{- end }}
{{- if and .Values.model.existingClaim .Values.model.init.image }}
{{- $reasons = append $reasons "model.existingClaim and model.init.image both provide /models: choose one" }}
{{- end }}
{{- if and (or .Values.model.existingClaim .Values.model.init.image) (not .Values.model.path) }}
{{- $reasons = append $reasons "a model volume without model.path: the server would load the demo model. Set it to a folder or file in /models" }}
{{- end }}
{{- if and (hasPrefix "/models" .Values.model.path) (not (or .Values.model.existingClaim .Values.model.init.image)) }}
{{- $reasons = append $reasons (printf "model.path=%s lies in /models, which nothing provides: set model.existingClaim or model.init.image" .Values.model.path) }}
{{- end }}

{{- $need := add (int64 .Values.jobs.diskQuotaBytes) (int64 .Values.jobs.minFreeBytes) }}
{{- $size := include "retouch.bytes" .Values.persistence.size | int64 }}
{{- if and (not (and .Values.persistence.enabled .Values.persistence.existingClaim)) (gt $need $size) }}
{{- $reasons = append $reasons (printf "jobs.diskQuotaBytes and jobs.minFreeBytes, %d bytes together, do not fit into persistence.size=%s" $need .Values.persistence.size) }}
{{- end }}
{{- if gt (include "retouch.seconds" .Values.jobs.defaultTtl | int64) (include "retouch.seconds" .Values.jobs.maxTtl | int64) }}
{{- $reasons = append $reasons "jobs.defaultTtl is above jobs.maxTtl" }}
{{- end }}
{{- if eq (int .Values.server.port) (int .Values.server.opsPort) }}
{{- $reasons = append $reasons "server.port and server.opsPort are the same" }}
{{- end }}

{{- if $reasons }}
{{- fail (printf "\nretouch is not installed:\n- %s" (join "\n- " $reasons)) }}
{{- end }}
{{- end }}
