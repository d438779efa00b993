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

{{- define "caject.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "caject.serviceAccountName" -}}
{{- default (include "caject.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "caject.caSecretName" -}}
{{- printf "%s-ca" (include "caject.fullname" .) -}}
{{- end -}}

{{- define "caject.metricsSecretName" -}}
{{- printf "%s-metrics-ca" (include "caject.fullname" .) -}}
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
{{- /* kubectl caject finds an installation by it, whatever its names. */}}
caject.io/installation: {{ include "caject.fullname" . | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of an object: a dict of root, values (with labels and annotations for objects like this) and own, annotations that
nobody may change. What is more particular counts. */}}
{{- define "caject.metadata" -}}
{{- $values := .values | default dict -}}
labels: {{- mergeOverwrite (include "caject.labels" .root | fromYaml) ($values.labels | default dict) | toYaml | nindent 2 }}
{{- with mergeOverwrite (dict) .root.Values.commonAnnotations ($values.annotations | default dict) (.own | default dict) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The names under which the API server calls caject. */}}
{{- define "caject.servingNames" -}}
{{- if .Values.webhook.url -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .Values.webhook.url).host "" | trimPrefix "[" | trimSuffix "]" -}}
{{- else -}}
{{- printf "%s.%s.svc" (include "caject.fullname" .) (include "caject.namespace" .) -}}
{{- end -}}
{{- end -}}

{{/* Whether admission policies fill targets: true or nothing. */}}
{{- define "caject.policyEnabled" -}}
{{- $served := or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy") -}}
{{- if and .Values.cabundles.enabled (or (eq (toString .Values.policy.enabled) "true") (and (eq (toString .Values.policy.enabled) "auto") $served)) -}}
true
{{- end -}}
{{- end -}}

{{- define "caject.hintConfiguration" -}}
{{- printf "%s-hints" (include "caject.fullname" .) -}}
{{- end -}}

{{/* How the API server calls caject: a dict of root and path. */}}
{{- define "caject.clientConfig" -}}
{{- if .root.Values.webhook.url -}}
url: {{ trimSuffix "/" .root.Values.webhook.url }}{{ .path }}
{{- else -}}
service:
  name: {{ include "caject.fullname" .root | quote }}
  namespace: {{ include "caject.namespace" .root | quote }}
  port: {{ .root.Values.service.port }}
  path: {{ .path }}
{{- end -}}
{{- end -}}

{{/* Whether the object, "object" or "oldObject", has an annotation that says what its source is: cabundle.ReferenceOf. */}}
{{- define "caject.annotated" -}}
{{ . }}.?metadata.?annotations.hasValue() && (
'cert-manager.io/inject-ca-from-secret' in {{ . }}.metadata.annotations ||
'cert-manager.io/inject-ca-from' in {{ . }}.metadata.annotations ||
{{ . }}.metadata.annotations[?'cert-manager.io/inject-apiserver-ca'].orValue('').trim() == 'true' ||
'caject.io/inject-ca-from' in {{ . }}.metadata.annotations)
{{- end -}}

{{/* A pattern for keys that were meant to name a source, and for those that do: misspeltPattern in cabundle. */}}
{{- define "caject.misspeltPattern" -}}
(?i)^(cert-?manager([.]k8s)?([.]io)?|caject([.]io)?)/inject[-_.]?(ca[-_.]?(from|form)?([-_.]?(secret|certificate)s?)?|api[-_.]?server[-_.]?ca([-_.]?from)?)$
{{- end -}}

{{/* Whether a key of an object that caject.annotated is false of was meant to name a source, by its value if it is the right one. */}}
{{- define "caject.misspeltKey" -}}
key.matches('{{ include "caject.misspeltPattern" . }}') && (key != 'cert-manager.io/inject-apiserver-ca' || {{ . }}.metadata.annotations[key].trim().matches('(?i)^(true|yes|y|on|1)$'))
{{- end -}}

{{/* Whether the object, which caject.annotated is false of, has an annotation that was meant to name a source: cabundle.MisspeltAnnotation. */}}
{{- define "caject.misspelt" -}}
{{ . }}.?metadata.?annotations.hasValue() && {{ . }}.metadata.annotations.exists(key,
{{ include "caject.misspeltKey" . }})
{{- end -}}

{{/* The source of an object that has annotations, as cabundle.Reference.String writes it; something else if it has none. The first annotation
that is there counts, whether it can be followed or not. */}}
{{- define "caject.source" -}}
( 'cert-manager.io/inject-ca-from-secret' in {{ . }}.metadata.annotations ? 'secret/' + {{ . }}.metadata.annotations['cert-manager.io/inject-ca-from-secret'].trim() :
'cert-manager.io/inject-ca-from' in {{ . }}.metadata.annotations ? 'certificate/' + {{ . }}.metadata.annotations['cert-manager.io/inject-ca-from'].trim() :
{{ . }}.metadata.annotations[?'cert-manager.io/inject-apiserver-ca'].orValue('').trim() == 'true' ? 'apiserver' :
{{ . }}.metadata.annotations[?'caject.io/inject-ca-from'].orValue('').trim() )
{{- end -}}

{{/* Those of resources, a list, that are injected into, as YAML: a dict of root and resources. */}}
{{- define "caject.enabledTargets" -}}
{{- range .resources }}
{{- if index $.root.Values.targets . }}
- {{ . }}
{{- end }}
{{- end }}
{{- end -}}
