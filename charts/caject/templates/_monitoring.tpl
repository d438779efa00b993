{{/* The name of the Service that metrics are scraped through, and of what goes with it. It is a DNS label. */}}
{{- define "caject.metricsName" -}}
{{- printf "%s-metrics" (include "caject.fullname" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{- define "caject.metricsReaderName" -}}
{{- printf "%s-metrics-reader" (include "caject.fullname" .) -}}
{{- end -}}

{{/* Whether the chart makes the account that a monitor scrapes as, with its token: true or nothing. */}}
{{- define "caject.metricsToken" -}}
{{- if and .Values.metrics.secure (or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled) (not .Values.metrics.tokenSecret.name) -}}
true
{{- end -}}
{{- end -}}

{{/* Refuses values that contradict each other. */}}
{{- define "caject.checkMonitoring" -}}
{{- with .Values.metrics -}}
{{- if and .serviceMonitor.enabled .podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled: each pod would be scraped twice. Set one of the two" -}}
{{- end -}}
{{- if and .serviceMonitor.enabled (not .service.create) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.create. metrics.podMonitor does without a Service" -}}
{{- end -}}
{{- if and .tokenSecret.name (not .secure) -}}
{{- fail "metrics.tokenSecret.name needs metrics.secure: a token is not to be sent in the clear" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* How Prometheus scrapes a pod, as ServiceMonitor and PodMonitor say it: a dict of root and monitor, its values. */}}
{{- define "caject.metricsEndpoint" -}}
{{- $metrics := .root.Values.metrics -}}
port: metrics
path: /metrics
{{- if $metrics.secure }}
scheme: https
tlsConfig:
  ca:
    secret:
      name: {{ include "caject.metricsSecretName" .root | quote }}
      key: ca.crt
  serverName: {{ printf "%s.%s.svc" (include "caject.metricsName" .root) (include "caject.namespace" .root) | quote }}
authorization:
  type: Bearer
  credentials:
    name: {{ $metrics.tokenSecret.name | default (include "caject.metricsReaderName" .root) | quote }}
    key: {{ $metrics.tokenSecret.key | quote }}
{{- else }}
scheme: http
{{- end }}
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .monitor.relabelings }}
relabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Metadata of an object of monitoring: a dict of root, name and values with labels and annotations. */}}
{{- define "caject.monitoringMetadata" -}}
name: {{ .name | quote }}
namespace: {{ include "caject.namespace" .root | quote }}
{{ include "caject.metadata" . }}
{{- end -}}

{{/* A duration of Go's, such as 1h30m or 1.5h, in whole seconds. */}}
{{- define "caject.seconds" -}}
{{- $milliseconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $milliseconds = addf $milliseconds (mulf (trimSuffix $unit . | float64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit)) -}}
{{- end -}}
{{- divf $milliseconds 1000 | int64 -}}
{{- end -}}
