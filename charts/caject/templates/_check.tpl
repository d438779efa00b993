{{/* Refuses values that contradict each other, and those of which the schema would not say clearly what is wrong. A parent chart may have
globals that are not for this chart. */}}
{{- define "caject.check" -}}
{{- if .Chart.IsRoot -}}
{{- range $key, $_ := .Values.global -}}
{{- if not (has $key (list "imageRegistry" "imagePullSecrets")) -}}
{{- fail (printf "global.%s is not known: the chart knows global.imageRegistry and global.imagePullSecrets" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.image.digest -}}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" .) -}}
{{- fail (printf "image.digest: %q is no digest; write sha256: and 64 lower-case hexadecimal digits" .) -}}
{{- end -}}
{{- end -}}
{{- include "caject.checkRelease" . -}}
{{- include "caject.checkSources" . -}}
{{- include "caject.checkMetadata" . -}}
{{- include "caject.checkPod" . -}}
{{- if and .Values.service.externalName (ne .Values.service.type "ExternalName") -}}
{{- fail (printf "service.externalName means nothing with service.type %s; set service.type=ExternalName, or leave it out" .Values.service.type) -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create=false needs serviceAccount.name, the account that is there already" -}}
{{- end -}}
{{- if and (eq (toString .Values.policy.enabled) "true") (not .Values.cabundles.enabled) -}}
{{- fail "policy.enabled=true needs cabundles.enabled: the policies fill in what caject publishes" -}}
{{- end -}}
{{- end -}}

{{/* One caject is enough for a cluster, and its CRD belongs to one release. With helm template the cluster is not asked. */}}
{{- define "caject.checkRelease" -}}
{{- if and .Values.cabundles.enabled .Values.crds.enabled -}}
{{- $owner := (lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "cabundles.caject.io" | default dict).metadata | default dict -}}
{{- $name := dig "annotations" "meta.helm.sh/release-name" "" $owner -}}
{{- $namespace := dig "annotations" "meta.helm.sh/release-namespace" "" $owner -}}
{{- if and $name (or (ne $name .Release.Name) (ne $namespace .Release.Namespace)) -}}
{{- fail (printf "caject is in this cluster already, as release %s in namespace %s, and one serves all namespaces: upgrade that one, or uninstall it first" $name $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caject.checkSources" -}}
{{- $access := include "caject.access" . -}}
{{- with .Values.sources -}}
{{- range $value, $names := dict "names" .names "certificateNames" .certificateNames -}}
{{- range $names -}}
{{- if or (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .)) (gt (len (splitList "/" . | last)) 253) -}}
{{- fail (printf "sources.%s: %q is not namespace/name" $value .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $value := list "namespaces" "ignoredNamespaces" -}}
{{- range get $.Values.sources $value -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) -}}
{{- fail (printf "sources.%s: no namespace can be called %q; write small letters, digits and dashes, 63 at most" $value .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .namespaces .ignoredNamespaces -}}
{{- fail "sources.namespaces and sources.ignoredNamespaces contradict each other: leave out of namespaces what is to be ignored" -}}
{{- end -}}
{{- if and (eq $access "namespaces") (not .namespaces) -}}
{{- fail "sources.access=namespaces needs sources.namespaces" -}}
{{- end -}}
{{- if and (ne $access "namespaces") .namespaces -}}
{{- fail (printf "sources.namespaces is for sources.access=namespaces, and access is %s; name single sources as sources.names, or leave one of the two out" $access) -}}
{{- end -}}
{{- if and (ne $access "names") (or .names .certificateNames) -}}
{{- fail (printf "sources.names and sources.certificateNames are for sources.access=names, and access is %s; set access=names, or leave them out" $access) -}}
{{- end -}}
{{- if and (eq $access "names") .ignoredNamespaces -}}
{{- fail "sources.ignoredNamespaces means nothing with sources.access=names: what is not named is not read" -}}
{{- end -}}
{{- if and .certificateNames (not .certificates) -}}
{{- fail "sources.certificateNames needs sources.certificates" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caject.checkPod" -}}
{{- if and .Values.networkPolicy.enabled .Values.hostNetwork -}}
{{- fail "networkPolicy.enabled means nothing with hostNetwork: it is for pods with addresses of their own. Use the node's firewall, and leave it out" -}}
{{- end -}}
{{- $taken := dict -}}
{{- range $value := list "webhook" "health" "metrics" -}}
{{- $port := get $.Values $value | dig "port" 0 | toString -}}
{{- if hasKey $taken $port -}}
{{- fail (printf "%s.port and %s.port are both %s; choose different ones" (get $taken $port) $value $port) -}}
{{- end -}}
{{- $_ := set $taken $port $value -}}
{{- end -}}
{{- with .Values.terminationGracePeriodSeconds -}}
{{- if lt (int .) (int (add $.Values.preStopSeconds 10)) -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is too short; preStopSeconds is %d, and caject needs 10 more to end what is under way" (int .) (int $.Values.preStopSeconds)) -}}
{{- end -}}
{{- end -}}
{{- $volumes := list "client-ca" "api-access" -}}
{{- range .Values.extraVolumes -}}
{{- if has .name $volumes -}}
{{- fail (printf "extraVolumes: the name %s is taken; choose another one" .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range .Values.extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}
{{- fail (printf "extraVolumeMounts: there is no volume %s among extraVolumes" .name) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (dig "type" "" .Values.strategy) "Recreate") .Values.strategy.rollingUpdate -}}
{{- fail "strategy.rollingUpdate means nothing with strategy.type=Recreate; leave it out" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which the chart and caject find their objects, and the annotations that caject reads, are not for others to set. */}}
{{- define "caject.checkMetadata" -}}
{{- $labels := dict "commonLabels" .Values.commonLabels "deploymentLabels" .Values.deploymentLabels "podLabels" .Values.podLabels -}}
{{- $annotations := dict "commonAnnotations" .Values.commonAnnotations "deploymentAnnotations" .Values.deploymentAnnotations "podAnnotations" .Values.podAnnotations -}}
{{- range $value := list "service" "webhook" "policy" "serviceAccount" -}}
{{- $_ := set $labels (print $value ".labels") (get $.Values $value).labels -}}
{{- $_ := set $annotations (print $value ".annotations") (get $.Values $value).annotations -}}
{{- end -}}
{{- range $value, $keys := $labels -}}
{{- range $key, $_ := $keys -}}
{{- if regexMatch "^(app[.]kubernetes[.]io/(name|instance|version|managed-by)|helm[.]sh/chart|caject[.]io/.*)$" $key -}}
{{- fail (printf "%s: the chart sets the label %s itself; choose another one" $value $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $value, $keys := $annotations -}}
{{- range $key, $_ := $keys -}}
{{- if regexMatch "^(caject|cert-manager)[.]io/" $key -}}
{{- fail (printf "%s: the annotation %s has a meaning for caject, and is not for its own objects; leave it out" $value $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
