{{/* Fails the render with every reason at once: what would start, and then lose jobs or stand open, is not installed. */}}
{{- define "retouch.refusals" -}}
{{- $reasons := list }}
{{- $replicas := include "retouch.maxReplicas" . | int }}

{{- $nats := .Values.engine.nats }}
{{- if include "retouch.nats" . }}
{{- if not (or $nats.urls $nats.urlKey) }}
{{- $reasons = append $reasons "engine.kind=nats without servers: name them in engine.nats.urls, such as nats://nats.nats:4222, or the item of the Secret that does, in engine.nats.urlKey" }}
{{- end }}
{{- if and $nats.urls $nats.urlKey }}
{{- $reasons = append $reasons "engine.nats.urls and engine.nats.urlKey both name the servers: choose one" }}
{{- end }}
{{- if and (or $nats.urlKey $nats.credentialsKey $nats.nkeyKey) (not $nats.existingSecret) }}
{{- $reasons = append $reasons "engine.nats.urlKey, credentialsKey and nkeyKey name items of engine.nats.existingSecret, which is empty" }}
{{- end }}
{{- if and $nats.existingSecret (not (or $nats.urlKey $nats.credentialsKey $nats.nkeyKey)) }}
{{- $reasons = append $reasons "engine.nats.existingSecret without an item: set urlKey, credentialsKey or nkeyKey" }}
{{- end }}
{{- if and $nats.credentialsKey $nats.nkeyKey }}
{{- $reasons = append $reasons "engine.nats.credentialsKey and engine.nats.nkeyKey both say who the pods are: choose one" }}
{{- end }}
{{- if and $nats.tls.clientAuth (not $nats.tls.existingSecret) }}
{{- $reasons = append $reasons "engine.nats.tls.clientAuth without engine.nats.tls.existingSecret: name a Secret with ca.crt, tls.crt and tls.key" }}
{{- end }}
{{- if .Values.allowLocalJobs }}
{{- $reasons = append $reasons "allowLocalJobs with engine.kind=nats: every pod knows every job, so leave it false" }}
{{- end }}
{{- if .Values.persistence.existingClaim }}
{{- $reasons = append $reasons "persistence.existingClaim with engine.kind=nats: nothing would be kept on it" }}
{{- end }}
{{- else }}
{{- if or $nats.urls $nats.urlKey }}
{{- $reasons = append $reasons "NATS servers without engine.kind=nats: jobs would stay in the pod" }}
{{- end }}
{{- if .Values.api.enabled }}
{{- $reasons = append $reasons "api.enabled needs engine.kind=nats: workers get their jobs through it" }}
{{- end }}
{{- if .Values.keda.enabled }}
{{- $reasons = append $reasons "keda.enabled needs engine.kind=nats: more pods would not share the jobs that wait" }}
{{- end }}
{{- if and (gt $replicas 1) (not .Values.allowLocalJobs) }}
{{- $reasons = append $reasons (printf "%d replicas: jobs live in the pod that took them, and another replica answers NOT_FOUND. Stay at 1, set engine.kind=nats, or allowLocalJobs=true if clients stay with one pod" $replicas) }}
{{- end }}
{{- if and (gt $replicas 1) .Values.persistence.enabled .Values.persistence.existingClaim }}
{{- $reasons = append $reasons (printf "%d replicas would share the journal in persistence.existingClaim, which belongs to one process: leave it empty, and each gets a claim" $replicas) }}
{{- end }}
{{- end }}
{{- if and .Values.keda.enabled .Values.hpa.enabled }}
{{- $reasons = append $reasons "keda.enabled and hpa.enabled would both set the number of pods: choose one" }}
{{- end }}
{{- if and .Values.keda.enabled (gt (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)) }}
{{- $reasons = append $reasons "keda.minReplicas is above keda.maxReplicas" }}
{{- end }}
{{- if and .Values.keda.enabled (lt (int .Values.keda.minReplicas) 1) (not .Values.api.enabled) }}
{{- $reasons = append $reasons "keda.minReplicas=0 without api.enabled: no pod would be left to take the first job" }}
{{- end }}
{{- if and (eq (toString .Values.rollingUpdate.maxSurge | trimSuffix "%") "0") (eq (toString .Values.rollingUpdate.maxUnavailable | trimSuffix "%") "0") }}
{{- $reasons = append $reasons "rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0: no pod could ever be replaced" }}
{{- end }}
{{- if and .Values.hpa.enabled (gt (int .Values.hpa.minReplicas) (int .Values.hpa.maxReplicas)) }}
{{- $reasons = append $reasons "hpa.minReplicas is above hpa.maxReplicas" }}
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

{{- $files := list .Values.model.previewDecoder }}
{{- range .Values.model.loras }}
{{- $files = append $files .file }}
{{- end }}
{{- range $files }}
{{- if and (hasPrefix "/models" .) (not (or $.Values.model.existingClaim $.Values.model.init.image)) }}
{{- $reasons = append $reasons (printf "%s of model.loras or model.previewDecoder lies in /models, which nothing provides: set model.existingClaim or model.init.image" .) }}
{{- end }}
{{- end }}

{{- $need := add (int64 .Values.jobs.diskQuotaBytes) (int64 .Values.jobs.minFreeBytes) }}
{{- $size := include "retouch.bytes" .Values.persistence.size | int64 }}
{{- if and (not (include "retouch.nats" .)) (not (and .Values.persistence.enabled .Values.persistence.existingClaim)) (gt $need $size) }}
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
