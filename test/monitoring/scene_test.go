package monitoring

import (
	"fmt"
	"slices"
	"strings"
)

// began is when each scene begins, in seconds since 1970. It lasts an hour, with a sample and an evaluation each minute.
const (
	began  = 1893456000
	length = 60
	day    = 24 * 60 * 60
)

// scene is what Prometheus has scraped: series, with values in the notation of Prometheus' tests.
type scene map[string]string

// targetLabels are those that the operator's ServiceMonitor gives to each series of a replica.
func targetLabels(pod int) string {
	return fmt.Sprintf(`container="caject",endpoint="metrics",instance="10.0.0.%d:9402",job="caject-metrics",namespace="caject",pod="caject-%d",service="caject-metrics"`, pod, pod)
}

// series is the name of one of a replica's.
func series(pod int, name string, labels ...string) string {
	return name + "{" + strings.Join(append(labels, targetLabels(pod)), ",") + "}"
}

// healthy is a scene in which all is well, with that many replicas.
func healthy(replicas int) scene {
	s := scene{}
	always, in := func(value int) string { return fmt.Sprintf("%dx%d", value, length) }, func(seconds int) string { return fmt.Sprintf("%dx%d", began+seconds, length) }
	for pod := range replicas {
		s[series(pod, "caject_build_info", `version="v1.0.0"`, `goversion="go1.26.8"`)] = always(1)
		s[series(pod, "caject_ready")] = always(1)
		s[series(pod, "caject_leader")] = always(max(0, 1-pod))
		s[series(pod, "caject_serving_certificate_expiry_timestamp_seconds")] = in(3 * day)
		s[series(pod, "caject_target_state", `kind="APIService"`, `name="good"`, `state="injected"`, `reason=""`)] = always(1)
		s[series(pod, "caject_target_state", `kind="CustomResourceDefinition"`, `name="idle"`, `state="idle"`, `reason="NotInjectable"`)] = always(1)
		s[series(pod, "caject_target_state", `kind="CustomResourceDefinition"`, `name="new"`, `state="pending"`, `reason=""`)] = always(1)
		s[series(pod, "caject_bundle_expiry_timestamp_seconds", `source="secret/ns/ca"`)] = in(90 * day)
		s[series(pod, "caject_bundle_expiry_timestamp_seconds", `source="secret/caject/caject-ca"`)] = in(200 * day)
		s[series(pod, "caject_resync_last_success_timestamp_seconds")] = fmt.Sprintf("%d+60x%d", began, length)
		s[series(pod, "caject_webhook_unreached")] = always(0)
		s[series(pod, "caject_admission_policies_ineffective", `kind="ValidatingWebhookConfiguration"`)] = always(0)
	}
	// Of an hour before, when caject was installed.
	s[apiServer("inject.caject.io", "admit")] = always(3)
	s[apiServer("other.example.com", "admit")] = fmt.Sprintf("0+10x%d", length)
	return s
}

// apiServer is the name of a series of the API server's.
func apiServer(webhook, kind string) string {
	return fmt.Sprintf(`apiserver_admission_webhook_fail_open_count{name="%s",type="%s",instance="10.0.0.9:6443",job="apiserver"}`, webhook, kind)
}

// set gives values to the series that have what in their names.
func (s scene) set(what, values string) {
	for name := range s {
		if strings.Contains(name, what) {
			s[name] = values
		}
	}
}

// load returns the scene as a command of Prometheus' tests.
func (s scene) load() string {
	var lines []string
	for name, values := range s {
		lines = append(lines, "  "+name+" "+values)
	}
	slices.Sort(lines)
	return "load 1m\n" + strings.Join(lines, "\n") + "\n"
}
