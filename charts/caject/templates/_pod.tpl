{{/* The image. A registry takes the place of the one that the repository names, if it names one, as Docker would read it. */}}
{{- define "caject.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.image.registry | default .Values.global.imageRegistry -}}
{{- $first := splitList "/" $repository | first -}}
{{- if and (contains "/" $repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $repository = trimPrefix (print $first "/") $repository -}}
{{- end -}}
{{- $repository = print (trimSuffix "/" .) "/" $repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- print $repository "@" .Values.image.digest -}}
{{- else -}}
{{- print $repository ":" (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* How pods are replaced. Two pods cannot have the same port of one node, so with hostNetwork the former one goes first. */}}
{{- define "caject.strategy" -}}
{{- if .Values.strategy -}}
{{- toYaml .Values.strategy -}}
{{- else if .Values.hostNetwork -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: 0
  maxUnavailable: 1
{{- end -}}
{{- end -}}

{{- define "caject.env" -}}
{{- $limited := false -}}
{{- range .Values.extraEnv -}}
{{- if eq .name "GOMEMLIMIT" -}}
{{- $limited = true -}}
{{- end -}}
{{- end -}}
{{- if not $limited -}}
# The garbage collector works harder before the kernel ends the process. Without a limit it is what the node has.
- name: GOMEMLIMIT
  valueFrom:
    resourceFieldRef:
      resource: limits.memory
      # The default, for Argo CD, which would take that for a difference.
      divisor: "0"
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Lists, as YAML. Nothing but caject gets the token of an account that is not mounted by itself. */}}
{{- define "caject.volumeMounts" -}}
{{- if .Values.webhook.clientCAConfigMap }}
- name: client-ca
  mountPath: /etc/caject/client-ca
  readOnly: true
{{- end }}
{{- if not .Values.automountServiceAccountToken }}
- name: api-access
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "caject.volumes" -}}
{{- with .Values.webhook.clientCAConfigMap }}
- name: client-ca
  configMap:
    name: {{ . | quote }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- if not .Values.automountServiceAccountToken }}
- name: api-access
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Pull secrets as a pod names them, as YAML; nothing if there are none. Values may name them, or be objects with a name. */}}
{{- define "caject.imagePullSecrets" -}}
{{- range concat (.Values.global.imagePullSecrets | default list) .Values.imagePullSecrets }}
- name: {{ kindIs "string" . | ternary . (get (kindIs "string" . | ternary (dict) .) "name") | quote }}
{{- end }}
{{- end -}}
