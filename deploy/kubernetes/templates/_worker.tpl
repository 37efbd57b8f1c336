{{/* The pod of a worker: spec of a Deployment's template and of a Job's.

root, name: of the service, service, worker, exitWhenIdleS: 0 for a Deployment. */}}
{{- define "penstock.workerName" -}}
{{ include "penstock.fullname" .root }}-worker-{{ include "penstock.slug" .name }}
{{- end -}}

{{- define "penstock.workerPod" -}}
{{- $root := .root -}}
{{- $worker := .worker -}}
{{- $model := .service.model -}}
{{- $tls := $root.Values.queueService.tls -}}
{{- $hasCa := and $tls.secretName $tls.caKey -}}
{{- $resources := deepCopy $worker.resources -}}
{{- if and (gt (int $worker.gpus) 0) (not $model) -}}
{{- $_ := set $resources "limits" (merge (dict $worker.gpuResource (int $worker.gpus)) (default dict $resources.limits)) -}}
{{- end -}}
{{- $engine := $worker.engine -}}
{{- if $model }}{{ $engine = printf "http:http://127.0.0.1:%d" (int $model.port) }}{{ end -}}
{{- include "penstock.hardenedPod" $root }}
{{- include "penstock.placement" $worker }}
securityContext:
  fsGroup: 10001
  # A large cache is not changed file by file at every start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- if gt (float64 .exitWhenIdleS) 0.0 }}
restartPolicy: OnFailure
{{- end }}
# As long as a job may take, and half a minute to return what is left.
terminationGracePeriodSeconds: {{ add 30 (int $worker.graceS) }}
{{- with $model }}
initContainers:
  # A native sidecar: it starts before the worker, and ends after it.
  - name: model
    image: {{ .image | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    restartPolicy: Always
    # Another vendor's image may need to write anywhere and to run as its own user.
    {{- $capabilities := dict "drop" (list "ALL") "add" (list "CHOWN" "DAC_OVERRIDE" "SETGID" "SETUID") }}
    securityContext: {{- mergeOverwrite (dict "allowPrivilegeEscalation" false "capabilities" $capabilities) (deepCopy (default dict .securityContext)) | toYaml | nindent 6 }}
    {{- with .command }}
    command:
      {{- range . }}
      - {{ include "penstock.literal" . }}
      {{- end }}
    {{- end }}
    {{- with .args }}
    args:
      {{- range . }}
      - {{ include "penstock.literal" . }}
      {{- end }}
    {{- end }}
    {{- with .env }}
    env:
      {{- range $variable, $value := . }}
      - {name: {{ $variable | quote }}, value: {{ include "penstock.literal" $value }}}
      {{- end }}
    {{- end }}
    {{- with .envSecrets }}
    envFrom:
      {{- range . }}
      - secretRef: {name: {{ . | quote }}}
      {{- end }}
    {{- end }}
    startupProbe:
      tcpSocket: {port: {{ int .port }}}
      periodSeconds: 5
      failureThreshold: {{ max 1 (div (int $worker.modelStartS) 5) }}
    {{- $its := deepCopy (default dict .resources) }}
    {{- if gt (int $worker.gpus) 0 }}
    {{- $_ := set $its "limits" (merge (dict $worker.gpuResource (int $worker.gpus)) (default dict $its.limits)) }}
    {{- end }}
    {{- with $its }}
    resources: {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - {name: models, mountPath: /models}
      {{- if gt (int $worker.sharedMemoryMib) 0 }}
      - {name: shared-memory, mountPath: /dev/shm}
      {{- end }}
      {{- range $number, $file := $worker.files }}
      - {name: files-{{ $number }}, mountPath: {{ $file.mountPath | quote }}, readOnly: true}
      {{- end }}
{{- end }}
containers:
  - name: inference-worker
    image: {{ include "penstock.image" (dict "root" $root "image" $worker.image) | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    securityContext: {{- include "penstock.hardenedContainer" $root | nindent 6 }}
    {{- with $worker.workingDir }}
    workingDir: {{ . | quote }}
    {{- end }}
    ports:
      # A ScaledJob requires the protocol.
      - {name: metrics, containerPort: 9090, protocol: TCP}
    env:
      - {name: PENSTOCK_WORKER_QUEUE_URL, value: {{ include "penstock.queueUrl" $root | quote }}}
      - {name: PENSTOCK_WORKER_SERVICE, value: {{ .name | quote }}}
      - {name: PENSTOCK_WORKER_TOKEN_FILE, value: {{ printf "/worker-tokens/%s" .name | quote }}}
      - name: PENSTOCK_WORKER_NAME
        valueFrom:
          fieldRef: {fieldPath: metadata.name}
      - {name: PENSTOCK_WORKER_ENGINE, value: {{ include "penstock.literal" $engine }}}
      {{- with $worker.engineOptions }}
      - name: PENSTOCK_WORKER_ENGINE_OPTIONS
        value: {{ include "penstock.literal" (toJson .) }}
      {{- end }}
      {{- with $worker.window }}
      - {name: PENSTOCK_WORKER_WORKER_THREADS, value: {{ int . | quote }}}
      {{- end }}
      - {name: PENSTOCK_WORKER_RUN_TIMEOUT_S, value: {{ include "penstock.literal" $worker.runTimeoutS }}}
      - {name: PENSTOCK_WORKER_GRACE_S, value: {{ int $worker.graceS | quote }}}
      {{- if gt (float64 .exitWhenIdleS) 0.0 }}
      - {name: PENSTOCK_WORKER_EXIT_WHEN_IDLE_S, value: {{ include "penstock.literal" .exitWhenIdleS }}}
      {{- end }}
      # Below the volume, which belongs to root.
      - {name: PENSTOCK_WORKER_FILES_DIR, value: /job-files/penstock}
      - {name: PENSTOCK_WORKER_METRICS_HOST, value: 0.0.0.0}
      - {name: PENSTOCK_WORKER_METRICS_PORT, value: "9090"}
      {{- if $hasCa }}
      - {name: PENSTOCK_WORKER_CA_FILE, value: {{ printf "/tls/%s" $tls.caKey | quote }}}
      {{- end }}
      {{- range $variable, $value := $worker.env }}
      - {name: {{ $variable | quote }}, value: {{ include "penstock.literal" $value }}}
      {{- end }}
    {{- with $worker.envSecrets }}
    envFrom:
      {{- range . }}
      - secretRef: {name: {{ . | quote }}}
      {{- end }}
    {{- end }}
    startupProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 5
      failureThreshold: 60
    livenessProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    # Ready once its engine is loaded and it is connected.
    readinessProbe:
      httpGet: {path: /readyz, port: metrics}
      periodSeconds: 5
      timeoutSeconds: 5
    resources: {{- toYaml $resources | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: job-files, mountPath: /job-files}
      - {name: models, mountPath: /models}
      - {name: token, mountPath: /worker-tokens, readOnly: true}
      {{- if $hasCa }}
      - {name: tls, mountPath: /tls, readOnly: true}
      {{- end }}
      {{- if gt (int $worker.sharedMemoryMib) 0 }}
      - {name: shared-memory, mountPath: /dev/shm}
      {{- end }}
      {{- range $number, $file := $worker.files }}
      - {name: files-{{ $number }}, mountPath: {{ $file.mountPath | quote }}, readOnly: true}
      {{- end }}
volumes:
  - {name: tmp, emptyDir: {}}
  - name: job-files
    {{- if $worker.jobFiles.size }}
    emptyDir: {sizeLimit: {{ $worker.jobFiles.size | quote }}}
    {{- else }}
    emptyDir: {}
    {{- end }}
  - name: models
    {{- if or $worker.modelCache.claim $worker.modelCache.size }}
    persistentVolumeClaim:
      claimName: {{ default (printf "%s-models" (include "penstock.workerName" .)) $worker.modelCache.claim | quote }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  # The token of this service's workers and no other.
  - name: token
    secret:
      secretName: {{ include "penstock.workerTokens" $root | quote }}
      defaultMode: 0440
      items:
        - {key: {{ .name | quote }}, path: {{ .name | quote }}}
  {{- if $hasCa }}
  - name: tls
    secret:
      secretName: {{ $tls.secretName | quote }}
      defaultMode: 0440
      items:
        - {key: {{ $tls.caKey | quote }}, path: {{ $tls.caKey | quote }}}
  {{- end }}
  {{- if gt (int $worker.sharedMemoryMib) 0 }}
  - name: shared-memory
    emptyDir: {medium: Memory, sizeLimit: {{ int $worker.sharedMemoryMib }}Mi}
  {{- end }}
  {{- range $number, $file := $worker.files }}
  - name: files-{{ $number }}
    {{- if $file.configMap }}
    configMap: {name: {{ $file.configMap | quote }}}
    {{- else if $file.secret }}
    secret: {secretName: {{ $file.secret | quote }}, defaultMode: 0440}
    {{- else }}
    persistentVolumeClaim: {claimName: {{ $file.claim | quote }}, readOnly: true}
    {{- end }}
  {{- end }}
{{- end -}}
