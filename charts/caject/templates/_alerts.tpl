{{/* The alerts, as a YAML list. What Prometheus is to fill in stands between backquotes. No label that only some ways of scraping set is
asked for; "cluster" is there where one Prometheus has several. */}}
{{- define "caject.alerts" -}}
- alert: CajectTargetRefused
  expr: max by (cluster, kind, name, reason) (caject_target_state{state="refused"}) == 1
  for: 10m
  severity: warning
  summary: {{ `'{{ $labels.kind }} {{ $labels.name }} is not injected: {{ $labels.reason }}'` }}
  description: {{ `'caject could not fill the caBundle of {{ $labels.kind }} {{ $labels.name }} for 10 minutes ({{ $labels.reason }}). It keeps what it had. The Event on the object says what to do.'` }}
- alert: CajectTargetContested
  expr: max by (cluster, kind, name, manager) (caject_target_contested) == 1
  for: 10m
  severity: warning
  summary: {{ `'{{ $labels.manager }} undoes the injection into {{ $labels.kind }} {{ $labels.name }}'` }}
  description: {{ `'The field manager {{ $labels.manager }} keeps changing the caBundle of {{ $labels.kind }} {{ $labels.name }} back, or emptying it. Calls of that webhook or API fail meanwhile.'` }}
- alert: CajectSourceExpiring
  expr: |-
    min by (cluster, source) (caject_bundle_expiry_timestamp_seconds{source!={{ printf "secret/%s/%s" (include "caject.namespace" .) (include "caject.caSecretName" .) | quote }}}) - time() < 7 * 86400 >= 86400
  for: 10m
  severity: warning
  summary: {{ `'A CA in {{ $labels.source }} expires in {{ $value | humanizeDuration }}'` }}
  description: {{ `'The first certificate in the ca.crt of {{ $labels.source }} expires in {{ $value | humanizeDuration }}. Whatever was issued by it is trusted by nobody then. Its issuer has to renew it.'` }}
- alert: CajectSourceExpiring
  expr: |-
    min by (cluster, source) (caject_bundle_expiry_timestamp_seconds{source!={{ printf "secret/%s/%s" (include "caject.namespace" .) (include "caject.caSecretName" .) | quote }}}) - time() < 86400
  for: 10m
  severity: critical
  summary: {{ `'A CA in {{ $labels.source }} expires within a day'` }}
  description: {{ `'The first certificate in the ca.crt of {{ $labels.source }} expires in {{ $value | humanizeDuration }}. Whatever was issued by it is trusted by nobody then. Its issuer has to renew it.'` }}
- alert: CajectResyncStale
  expr: time() - caject_resync_last_success_timestamp_seconds > {{ max 300 (mul 4 (include "caject.seconds" .Values.resyncInterval)) }}
  for: 5m
  severity: warning
  summary: {{ `'caject {{ $labels.pod }} gets no answers from the API server'` }}
  description: {{ `'The API server has not answered {{ $labels.pod }} ({{ $labels.instance }}) about any source for {{ $value | humanizeDuration }}. A CA that rotates meanwhile is not noticed.'` }}
- alert: CajectNotReady
  expr: caject_ready == 0
  for: 10m
  severity: warning
  summary: {{ `'caject {{ $labels.pod }} is not ready'` }}
  description: {{ `'{{ $labels.pod }} ({{ $labels.instance }}) has not been ready for 10 minutes, so the API server does not call it. Its /readyz and its log say why.'` }}
{{- if .Values.replicaCount }}
- alert: CajectReplicasMissing
  expr: count by (cluster) (caject_build_info) < {{ .Values.replicaCount }}
  for: 15m
  severity: warning
  summary: {{ `'{{ $value }} of` }} {{ .Values.replicaCount }} replicas of caject are scraped'
  description: 'Some pods of caject are missing, or Prometheus cannot scrape them.'
- alert: CajectAbsent
  expr: absent(caject_build_info)
  for: 5m
  severity: critical
  summary: 'No caject is scraped'
  description: 'No pod of caject runs, or Prometheus cannot scrape any. Without one, CA bundles are neither filled nor kept up to date, but by policies with what was published before.'
{{- end }}
- alert: CajectServingCertificateExpiring
  expr: caject_serving_certificate_expiry_timestamp_seconds - time() < {{ div (include "caject.seconds" .Values.servingCertificate.leafLifetime) 6 }}
  for: 5m
  severity: critical
  summary: {{ `'The certificate of caject {{ $labels.pod }} is not renewed'` }}
  description: {{ `'The certificate that {{ $labels.pod }} ({{ $labels.instance }}) serves admission with expires in {{ $value | humanizeDuration }}. It should have been renewed when a third of its life was left. The log says why it was not.'` }}
- alert: CajectWebhookUnreached
  expr: max by (cluster) (caject_webhook_unreached) == 1
  for: 10m
  severity: warning
  summary: 'The API server does not reach the webhook of caject'
  description: 'Each write of an annotated CustomResourceDefinition or APIService, and of a Secret that allows injection, waits in vain for it. caject fills what it can afterwards. Its log has the cause.'
- alert: CajectPoliciesIneffective
  expr: max by (cluster, kind) (caject_admission_policies_ineffective) == 1
  for: 10m
  severity: warning
  summary: {{ `'The admission policies do not fill objects of kind {{ $labels.kind }}'` }}
  description: {{ `'A new {{ $labels.kind }} has no caBundle, or a former one, until caject has written it some milliseconds later; while no replica runs, for longer. If caject was installed again, or its policies were switched off and on, each API server must be restarted.'` }}
- alert: CajectFailingOpen
  expr: sum by (cluster, name) (increase(apiserver_admission_webhook_fail_open_count{name=~"inject[.]caject[.]io|(secrets|certificates)[.]hint[.]caject[.]io"}[5m])) > 0
  for: 10m
  severity: warning
  summary: {{ `'The API server goes on without caject: calls of {{ $labels.name }} fail'` }}
  description: {{ `'For 10 minutes calls of the webhook {{ $labels.name }} have failed, and requests went on without it (failurePolicy Ignore). Each of them waited for it.'` }}
{{- end -}}
