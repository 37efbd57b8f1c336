{{/* Names, labels, and what is derived from the values. */}}

{{/* The name of a worker's pod ends with up to 17 random characters and has to fit into 63. */}}
{{- define "penstock.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = default $full .Values.fullnameOverride -}}
{{- if gt (len $full) 20 -}}
{{- $full = printf "%s-%s" (trunc 13 $full | trimSuffix "-") (sha256sum $full | trunc 6) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* A service's name as part of a resource's: its pattern is wider than Kubernetes'. */}}
{{- define "penstock.slug" -}}
{{- $slug := regexReplaceAll "[^a-z0-9-]" (lower .) "-" | trimAll "-" -}}
{{- if or (gt (len $slug) 18) (not $slug) -}}
{{- $slug = printf "%s-%s" (trunc 11 $slug | trimSuffix "-" | default "s") (sha256sum . | trunc 6) -}}
{{- end -}}
{{- $slug -}}
{{- end -}}

{{/* A value of a variable or an argument, as it is: Kubernetes would expand $(NAME) and $$. */}}
{{- define "penstock.literal" -}}
{{- ternary . (toJson .) (kindIs "string" .) | replace "$" "$$" | quote -}}
{{- end -}}

{{- define "penstock.selector" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- if .service }}
penstock/service: {{ include "penstock.slug" .service | quote }}
{{- end }}
{{- end -}}

{{- define "penstock.labels" -}}
{{ include "penstock.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "penstock.image" -}}
{{- $registry := .root.Values.image.registry -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}

{{/* The settings of the workers of a service, as JSON. */}}
{{- define "penstock.worker" -}}
{{- $worker := mergeOverwrite (deepCopy .root.Values.worker) (deepCopy (default dict .service.worker)) -}}
{{- $grace := $worker.graceS -}}
{{- if kindIs "invalid" $grace -}}
{{- $grace = ternary $worker.runTimeoutS 3600 (gt (float64 $worker.runTimeoutS) 0.0) -}}
{{- else if lt (float64 $grace) (float64 $worker.runTimeoutS) -}}
{{- fail (printf "services.%s.worker.graceS: expected at least runTimeoutS (%v), got %v; a pod that is deleted needs the time of its longest job" .name $worker.runTimeoutS $grace) -}}
{{- end -}}
{{- $_ := set $worker "graceS" (ceil $grace) -}}
{{- toJson $worker -}}
{{- end -}}

{{/* The settings of the autoscaling of a service, as JSON. */}}
{{- define "penstock.autoscaling" -}}
{{- $auto := mergeOverwrite (deepCopy .root.Values.autoscaling) (deepCopy (default dict .service.autoscaling)) -}}
{{- if gt (int $auto.min) (int $auto.max) -}}
{{- fail (printf "services.%s.autoscaling.min: expected at most max (%v), got %v" .name $auto.max $auto.min) -}}
{{- end -}}
{{- $worker := include "penstock.worker" . | fromJson -}}
{{- if kindIs "invalid" $auto.jobsPerWorker -}}
{{- $_ := set $auto "jobsPerWorker" (default 1 $worker.window) -}}
{{- end -}}
{{- toJson $auto -}}
{{- end -}}

{{/* Workers of a service without autoscaling. */}}
{{- define "penstock.instances" -}}
{{- if hasKey . "replicas" }}{{ int .replicas }}{{ else }}1{{ end -}}
{{- end -}}

{{/* Replicas of the queue service: as in PAI EAS, the number of workers, within 1 and 2. */}}
{{- define "penstock.queueReplicas" -}}
{{- $set := .Values.queueService.replicas -}}
{{- if not (kindIs "invalid" $set) -}}
{{- int $set -}}
{{- else -}}
{{- $most := 0 -}}
{{- range $name, $service := .Values.services -}}
{{- $auto := include "penstock.autoscaling" (dict "root" $ "name" $name "service" (default dict $service)) | fromJson -}}
{{- $count := include "penstock.instances" (default dict $service) -}}
{{- $most = add $most (ternary $count $auto.max (eq $auto.mode "none")) -}}
{{- end -}}
{{- if gt $most 0 }}{{ min $most 2 }}{{ else }}{{ int .Values.queueService.minReplica }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "penstock.queueName" -}}{{ include "penstock.fullname" . }}-queue{{- end -}}
{{- define "penstock.redisName" -}}{{ include "penstock.fullname" . }}-redis{{- end -}}
{{- define "penstock.scheme" -}}{{ ternary "https" "http" (ne .Values.queueService.tls.secretName "") }}{{- end -}}

{{/* With the namespace: KEDA asks from another one. */}}
{{- define "penstock.queueHost" -}}
{{ include "penstock.queueName" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}
{{- define "penstock.queueUrl" -}}
{{ include "penstock.scheme" . }}://{{ include "penstock.queueHost" . }}:8080
{{- end -}}

{{- define "penstock.clientTokens" -}}
{{ default (printf "%s-tokens" (include "penstock.fullname" .)) .Values.tokens.clients }}
{{- end -}}
{{- define "penstock.workerTokens" -}}
{{ default (printf "%s-worker-tokens" (include "penstock.fullname" .)) .Values.tokens.workers }}
{{- end -}}
{{- define "penstock.adminSecret" -}}
{{ default (printf "%s-admin" (include "penstock.fullname" .)) .Values.tokens.admin.name }}
{{- end -}}
{{- define "penstock.redisSecret" -}}
{{ default (include "penstock.redisName" .) .Values.redis.existingSecret }}
{{- end -}}

{{/* What every pod and every container of ours has, as in docker-compose.yml. */}}
{{- define "penstock.hardenedPod" -}}
automountServiceAccountToken: false
# Otherwise a Service named `penstock` would set PENSTOCK_PORT to a URL.
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}
{{- define "penstock.hardenedContainer" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where the pods of a part run. */}}
{{- define "penstock.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* Parts of network policies. */}}
{{- define "penstock.namespacePeer" -}}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ . | quote }}
{{- end -}}
{{- define "penstock.dns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}
