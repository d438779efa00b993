{{- define "caject.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "caject.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "caject.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "caject.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "caject.serviceAccountName" -}}
{{- default (include "caject.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "caject.caSecretName" -}}
{{- printf "%s-ca" (include "caject.fullname" .) -}}
{{- end -}}

{{- define "caject.selectorLabels" -}}
app.kubernetes.io/name: {{ include "caject.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "caject.labels" -}}
{{ include "caject.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The names under which the API server calls caject. */}}
{{- define "caject.servingNames" -}}
{{- if .Values.webhook.url -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .Values.webhook.url).host "" | trimPrefix "[" | trimSuffix "]" -}}
{{- else -}}
{{- printf "%s.%s.svc" (include "caject.fullname" .) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* Whether admission policies fill targets: true or nothing. */}}
{{- define "caject.policyEnabled" -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- if and .Values.cabundles.enabled (or (eq (toString .Values.policy.enabled) "true") (and (eq (toString .Values.policy.enabled) "auto") $served)) -}}
true
{{- end -}}
{{- end -}}
