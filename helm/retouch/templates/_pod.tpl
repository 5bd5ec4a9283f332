{{/* The pod: the same in a StatefulSet and in a Deployment, but for where the data lies. Takes root and component. */}}
{{- define "retouch.pod" -}}
{{- $component := .component }}
{{- $labels := include "retouch.componentLabels" . }}
{{- $answers := ne .component "worker" }}
{{- $runs := ne .component "api" }}
{{- $place := $runs | ternary .root.Values .root.Values.api }}
{{- with .root }}
{{- $root := . }}
{{- $nats := .Values.engine.nats -}}
metadata:
  labels:
    {{- $labels | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: retouch
    # The server reads its configuration once: another one is another pod.
    checksum/config: {{ include "retouch.toml" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "retouch.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "retouch.terminationSeconds" . }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $runs .Values.runtimeClassName }}
  runtimeClassName: {{ .Values.runtimeClassName }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $place.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $place.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $place.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $place.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.model.init }}
  {{- if .image }}
  initContainers:
    - name: model
      image: {{ .image | quote }}
      {{- with .command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .args }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        # The file system is read-only: what a tool caches goes where it may write.
        - name: HOME
          value: /tmp
        {{- with .env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      {{- with .resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: model
          mountPath: /models
        - name: tmp
          mountPath: /tmp
  {{- end }}
  {{- end }}
  containers:
    - name: retouch
      image: {{ include "retouch.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, {{ if eq $component "server" }}{{ else }}--role, {{ $component }}, {{ end }}--config, /etc/retouch/retouch.toml]
      env:
        # No home in the image; caches of libtorch and of the driver go where they may be written.
        - name: HOME
          value: /tmp
        {{- if and (include "retouch.nats" .) $nats.urlKey }}
        - name: RETOUCH__ENGINE__NATS_URL
          valueFrom:
            secretKeyRef:
              name: {{ $nats.existingSecret }}
              key: {{ $nats.urlKey }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if $answers }}
        - name: grpc
          containerPort: {{ int .Values.server.port }}
        {{- end }}
        - name: ops
          containerPort: {{ int .Values.server.opsPort }}
      startupProbe:
        httpGet:
          path: /readyz
          port: ops
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ divf .Values.startupSeconds 5 | ceil | int }}
      readinessProbe:
        httpGet:
          path: /readyz
          port: ops
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      livenessProbe:
        httpGet:
          path: /livez
          port: ops
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      {{- if gt (int .Values.preStopSeconds) 0 }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ int .Values.preStopSeconds }}
      {{- end }}
      {{- $resources := deepCopy $place.resources }}
      {{- if and $runs (gt (int .Values.gpu.count) 0) }}
      {{- $resources = mergeOverwrite $resources (dict "limits" (dict .Values.gpu.resource (int .Values.gpu.count))) }}
      {{- end }}
      {{- with $resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/retouch/retouch.toml
          subPath: retouch.toml
          readOnly: true
        {{- if not (include "retouch.nats" .) }}
        - name: data
          mountPath: /var/lib/retouch
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- if .Values.tls.enabled }}
        - name: tls
          mountPath: /etc/retouch/tls
          readOnly: true
        {{- end }}
        {{- if .Values.auth.existingSecret }}
        - name: keys
          mountPath: /etc/retouch/keys
          readOnly: true
        {{- end }}
        {{- if and (include "retouch.nats" .) (or $nats.credentialsKey $nats.nkeyKey) }}
        - name: nats
          mountPath: /etc/retouch/nats
          readOnly: true
        {{- end }}
        {{- if and (include "retouch.nats" .) $nats.tls.existingSecret }}
        - name: nats-tls
          mountPath: /etc/retouch/nats-tls
          readOnly: true
        {{- end }}
        {{- if .Values.model.existingClaim }}
        - name: model
          mountPath: /models
          {{- with .Values.model.subPath }}
          subPath: {{ . }}
          {{- end }}
          readOnly: true
        {{- else if .Values.model.init.image }}
        - name: model
          mountPath: /models
          readOnly: true
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "retouch.fullname" . }}
    - name: tmp
      emptyDir:
        sizeLimit: {{ .Values.tmpSizeLimit }}
    {{- if include "retouch.nats" . }}
    {{- if or $nats.credentialsKey $nats.nkeyKey }}
    - name: nats
      secret:
        secretName: {{ $nats.existingSecret }}
        defaultMode: 0440
        items:
          {{- with $nats.credentialsKey }}
          - key: {{ . }}
            path: credentials
          {{- end }}
          {{- with $nats.nkeyKey }}
          - key: {{ . }}
            path: nkey
          {{- end }}
    {{- end }}
    {{- if $nats.tls.existingSecret }}
    - name: nats-tls
      secret:
        secretName: {{ $nats.tls.existingSecret }}
        defaultMode: 0440
        items:
          - key: ca.crt
            path: ca.crt
          {{- if $nats.tls.clientAuth }}
          - key: tls.crt
            path: tls.crt
          - key: tls.key
            path: tls.key
          {{- end }}
    {{- end }}
    {{- else if not .Values.persistence.enabled }}
    - name: data
      emptyDir:
        sizeLimit: {{ .Values.persistence.size }}
    {{- else if .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim }}
    {{- end }}
    {{- if .Values.tls.enabled }}
    - name: tls
      secret:
        secretName: {{ .Values.tls.existingSecret }}
        defaultMode: 0440
        items:
          - key: tls.crt
            path: tls.crt
          - key: tls.key
            path: tls.key
          {{- if .Values.tls.clientAuth }}
          - key: ca.crt
            path: ca.crt
          {{- end }}
    {{- end }}
    {{- if .Values.auth.existingSecret }}
    - name: keys
      secret:
        secretName: {{ .Values.auth.existingSecret }}
        defaultMode: 0440
        items:
          - key: {{ .Values.auth.key }}
            path: {{ .Values.auth.key }}
    {{- end }}
    {{- if .Values.model.existingClaim }}
    - name: model
      persistentVolumeClaim:
        claimName: {{ .Values.model.existingClaim }}
        readOnly: true
    {{- else if .Values.model.init.image }}
    - name: model
      emptyDir:
        sizeLimit: {{ .Values.model.init.sizeLimit }}
    {{- end }}
{{- end }}
{{- end }}
