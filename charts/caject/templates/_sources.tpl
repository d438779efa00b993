{{/* Which sources caject may read: cluster, namespaces or names. */}}
{{- define "caject.access" -}}
{{- $sources := .Values.sources -}}
{{- if $sources.access -}}
{{- $sources.access -}}
{{- else if or $sources.names $sources.certificateNames -}}
names
{{- else if $sources.namespaces -}}
namespaces
{{- else -}}
cluster
{{- end -}}
{{- end -}}

{{/* The sources that are named, as YAML: by namespace a dict of secrets and certificates, lists of names. */}}
{{- define "caject.namedSources" -}}
{{- $namespaces := dict -}}
{{- range $resource, $names := dict "secrets" .Values.sources.names "certificates" .Values.sources.certificateNames -}}
{{- range $names -}}
{{- $parts := splitList "/" . -}}
{{- $inside := get $namespaces (first $parts) | default dict -}}
{{- $_ := set $inside $resource (append (get $inside $resource | default list) (last $parts)) -}}
{{- $_ := set $namespaces (first $parts) $inside -}}
{{- end -}}
{{- end -}}
{{- toYaml $namespaces -}}
{{- end -}}

{{/* Sources are read one at a time, by name. Never list, never watch. A dict of root, and in namespaces where single sources are named, named. */}}
{{- define "caject.sourceRules" -}}
{{- $named := .named -}}
{{- range $resource, $group := dict "secrets" "" "certificates" "cert-manager.io" -}}
{{- if or (get ($named | default dict) $resource) (and (not $named) (or (eq $resource "secrets") $.root.Values.sources.certificates)) }}
- apiGroups: [{{ $group | quote }}]
  resources: [{{ $resource }}]
  {{- with $named }}
  resourceNames: {{- get . $resource | toYaml | nindent 4 }}
  {{- end }}
  verbs: [get]
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether caject may read any Certificate: true or nothing. */}}
{{- define "caject.certificatesRead" -}}
{{- if and .Values.sources.certificates (or (ne (include "caject.access" .) "names") .Values.sources.certificateNames) -}}
true
{{- end -}}
{{- end -}}

{{/* Whether the API server tells caject of sources that change: true or nothing. It is sent none that it may not read. */}}
{{- define "caject.hinted" -}}
{{- if and .Values.hints.enabled (or (ne (include "caject.access" .) "names") .Values.sources.names .Values.sources.certificateNames) -}}
true
{{- end -}}
{{- end -}}

{{/* The namespaces whose sources caject is sent: of those that it may read, the ones that hints.namespaceSelector selects. */}}
{{- define "caject.hintNamespaces" -}}
{{- $access := include "caject.access" . -}}
{{- $selector := deepCopy .Values.hints.namespaceSelector -}}
{{- $expressions := $selector.matchExpressions | default list -}}
{{- $name := dict "key" "kubernetes.io/metadata.name" -}}
{{- if eq $access "names" -}}
{{- $expressions = append $expressions (merge (dict "operator" "In" "values" (include "caject.namedSources" . | fromYaml | keys | sortAlpha)) $name) -}}
{{- else if eq $access "namespaces" -}}
{{- $expressions = append $expressions (merge (dict "operator" "In" "values" .Values.sources.namespaces) $name) -}}
{{- else if .Values.sources.ignoredNamespaces -}}
{{- $expressions = append $expressions (merge (dict "operator" "NotIn" "values" .Values.sources.ignoredNamespaces) $name) -}}
{{- end -}}
{{- if $expressions -}}
{{- $_ := set $selector "matchExpressions" $expressions -}}
{{- end -}}
{{- with $selector -}}
namespaceSelector: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The match condition that lets named sources through and no others: a dict of root and names. */}}
{{- define "caject.hintNames" -}}
{{- if eq (include "caject.access" .root) "names" -}}
- name: may-be-read
  expression: request.namespace + '/' + request.name in [{{ range $i, $name := .names }}{{ if $i }}, {{ end }}'{{ $name }}'{{ end }}]
{{- end -}}
{{- end -}}

{{/* The sources that are named, as an argument of caject; apiserver, which can always be read, where there are none. */}}
{{- define "caject.sourceReferences" -}}
{{- $references := list -}}
{{- range .Values.sources.names -}}
{{- $references = append $references (print "secret/" .) -}}
{{- end -}}
{{- range .Values.sources.certificateNames -}}
{{- $references = append $references (print "certificate/" .) -}}
{{- end -}}
{{- $references | default (list "apiserver") | join "," -}}
{{- end -}}
