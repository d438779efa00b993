{{/* What the policies say in CEL. An expression sees a caBundle as base64, and cannot decode it.

[x].exists(name, …) gives x a name. Conditions are short-circuited from left to right: what is cheap, and seldom true, comes first. */}}

{{/* Whether a variable that holds a caBundle holds no certificate, as cabundle.HoldsNone has it: it has no BEGIN line or no END line of
one, in none of the three ways in which base64 can spell it. A plain bundle is known by its two ends. */}}
{{- define "caject.holdsNone" -}}
(size({{ . }}) < 72 || !(
{{ . }}.startsWith('LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t') &&
({{ . }}.endsWith('0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K') || {{ . }}.endsWith('tLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==') || {{ . }}.endsWith('LS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=')) ||
({{ . }}.contains('LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t') || {{ . }}.contains('0tLS0tQkVHSU4gQ0VSVElGSUNBVEUtLS0tL') || {{ . }}.contains('tLS0tLUJFR0lOIENFUlRJRklDQVRFLS0tLS')) &&
({{ . }}.contains('LS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tL') || {{ . }}.contains('0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS') || {{ . }}.contains('tLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0t'))))
{{- end -}}

{{/* A field of object or oldObject that may be missing, as base64. */}}
{{- define "caject.base64" -}}
string({{ . }}.orValue(b''))
{{- end -}}

{{/* What the webhooks of the configuration that was there before hold, by name. */}}
{{- define "caject.oldWebhooks" -}}
oldObject.?webhooks.orValue([]).transformMapEntry(i, w, {w.name: {{ include "caject.base64" "w.clientConfig.?caBundle" }}})
{{- end -}}

{{/* Whether a field is to be filled from words, that is, a bundle and former values of it; held is what the field holds, former what it
held before the update. What the update would lose is for the policy that keeps, unless it is one of those that were published: so in
whichever order the two act, the same comes of it. */}}
{{- define "caject.toFill" -}}
({{ include "caject.holdsNone" "held" }} && ({{ include "caject.holdsNone" "former" }} || former in {{ .words }}) || held != {{ .words }}[0] && held in {{ .words }})
{{- end -}}

{{/* Whether a field would lose its certificates. */}}
{{- define "caject.toKeep" -}}
(!{{ include "caject.holdsNone" "former" }} && {{ include "caject.holdsNone" "held" }})
{{- end -}}

{{/* Whether an annotated object is to hold what its source holds and nothing else, as cabundle.Replaces has it. */}}
{{- define "caject.replaces" -}}
object.metadata.annotations[?'caject.io/inject-mode'].orValue('').trim() == 'replace'
{{- end -}}

{{/* The kinds that the policies treat alike, as YAML: a list of dicts.
where is whether the object can hold a caBundle at all, if that is not a matter of its list of webhooks; taken is whether what is left of
it, at takenPath, may be removed where it cannot; most is how much base64 is filled in: a CRD may be near etcd's limit, which no expression
can see, and somebody else's request must not be pushed over it. Before caject asks for it, it has looked. */}}
{{- define "caject.policyKinds" -}}
- name: webhook-configurations
  group: admissionregistration.k8s.io
  resources: [mutatingwebhookconfigurations, validatingwebhookconfigurations]
- name: customresourcedefinitions
  group: apiextensions.k8s.io
  resources: [customresourcedefinitions]
  path: /spec/conversion/webhook/clientConfig/caBundle
  most: "(request.?options.?fieldManager.orValue('') == 'caject-policy' ? 1000000 : 24000)"
  caBundle: spec.?conversion.?webhook.?clientConfig.?caBundle
  where: (object.spec.?conversion.?strategy.orValue('') == 'Webhook' && object.spec.conversion.?webhook.?clientConfig.hasValue())
  taken: object.spec.conversion.?strategy.orValue('') != 'Webhook' && !has(object.spec.conversion.webhook.clientConfig.service) && !has(object.spec.conversion.webhook.clientConfig.url) && [object.spec.conversion.webhook.?conversionReviewVersions.orValue(null)].all(versions, versions == null || size(versions) == 0)
  takenPath: /spec/conversion/webhook
  takenFrom: a CustomResourceDefinition without conversion webhook
- name: apiservices
  group: apiregistration.k8s.io
  resources: [apiservices]
  path: /spec/caBundle
  caBundle: spec.?caBundle
  where: (object.spec.?service.hasValue() && !object.spec.?insecureSkipTLSVerify.orValue(false))
  taken: "true"
  takenPath: /spec/caBundle
  takenFrom: an APIService without service, or with insecureSkipTLSVerify
{{- end -}}

{{/* The version in which the cluster serves MutatingAdmissionPolicy. */}}
{{- define "caject.policyVersion" -}}
{{- if or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") (not (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy")) -}}
admissionregistration.k8s.io/v1
{{- else -}}
admissionregistration.k8s.io/v1beta1
{{- end -}}
{{- end -}}

{{/* Whether a policy may be evaluated for each CRD and APIService: true or nothing. Before 1.37 each evaluation converts the whole object,
which takes 50 ms for a CRD of 400 KB, annotated or not. */}}
{{- define "caject.policyForAll" -}}
{{- if semverCompare ">=1.37.0-0" .Capabilities.KubeVersion.Version -}}
true
{{- end -}}
{{- end -}}

{{/* The username of caject's own ServiceAccount. */}}
{{- define "caject.username" -}}
system:serviceaccount:{{ include "caject.namespace" . }}:{{ include "caject.serviceAccountName" . }}
{{- end -}}
