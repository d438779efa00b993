package monitoring

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"
)

// TestTheServiceMonitorFindsTheService: it selects the metrics Service alone, by labels that the other one has not, and its port.
func TestTheServiceMonitorFindsTheService(t *testing.T) {
	for _, values := range [][]string{nil, {"fullnameOverride=" + strings.Repeat("long-", 12) + "end"}, {"metrics.service.labels.team=a", "metrics.service.annotations.b=c", "metrics.service.port=80"}} {
		var metrics, webhook corev1.Service
		var monitor monitoringv1.ServiceMonitor
		render(t, "metricsservice.yaml", &metrics, values...)
		render(t, "service.yaml", &webhook, values...)
		render(t, "servicemonitor.yaml", &monitor, append(values, "metrics.serviceMonitor.enabled=true")...)
		if !matches(monitor.Spec.Selector.MatchLabels, metrics.Labels) || matches(monitor.Spec.Selector.MatchLabels, webhook.Labels) {
			t.Errorf("%q: it selects %v", values, monitor.Spec.Selector.MatchLabels)
		}
		if len(metrics.Name) > 63 || monitor.Namespace != metrics.Namespace {
			t.Errorf("%q: the Service is %s/%s", values, metrics.Namespace, metrics.Name)
		}
		if port := metrics.Spec.Ports[0]; port.Name != monitor.Spec.Endpoints[0].Port || port.TargetPort.StrVal != "metrics" {
			t.Errorf("%q: port %v", values, port)
		}
	}
}

func matches(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// endpoint is what both kinds of monitor say.
type endpoint struct{ Port, Scheme, CA, Key, Name, Token, TokenKey, Interval string }

func endpointOf(port string, scheme *monitoringv1.Scheme, tls *monitoringv1.SafeTLSConfig, auth *monitoringv1.SafeAuthorization, interval monitoringv1.Duration) endpoint {
	e := endpoint{Port: port, Scheme: string(*scheme), Interval: string(interval)}
	if tls != nil {
		e.CA, e.Key, e.Name = tls.CA.Secret.Name, tls.CA.Secret.Key, *tls.ServerName
	}
	if auth != nil {
		e.Token, e.TokenKey = auth.Credentials.Name, auth.Credentials.Key
	}
	return e
}

func TestMonitorsScrapeAsMetricsAreServed(t *testing.T) {
	for sentence, test := range map[string]struct {
		values []string
		want   endpoint
	}{
		"over HTTP": {nil, endpoint{Port: "metrics", Scheme: "http"}},
		"metrics.secure": {[]string{"metrics.secure=true"},
			endpoint{"metrics", "https", "caject-metrics-ca", "ca.crt", "caject-metrics.caject.svc", "caject-metrics-reader", "token", ""}},
		"a token of one's own": {[]string{"metrics.secure=true", "metrics.tokenSecret.name=mine", "metrics.tokenSecret.key=bearer", "metrics.MONITOR.interval=1m"},
			endpoint{"metrics", "https", "caject-metrics-ca", "ca.crt", "caject-metrics.caject.svc", "mine", "bearer", "1m"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			values := func(monitor string) []string {
				all := []string{"metrics." + monitor + ".enabled=true"}
				for _, value := range test.values {
					all = append(all, strings.ReplaceAll(value, "MONITOR", monitor))
				}
				return all
			}
			var service monitoringv1.ServiceMonitor
			render(t, "servicemonitor.yaml", &service, values("serviceMonitor")...)
			e := service.Spec.Endpoints[0]
			var tls *monitoringv1.SafeTLSConfig
			if e.TLSConfig != nil {
				tls = &e.TLSConfig.SafeTLSConfig
			}
			if diff := cmp.Diff(test.want, endpointOf(e.Port, e.Scheme, tls, e.Authorization, e.Interval)); diff != "" {
				t.Errorf("ServiceMonitor: %s", diff)
			}
			var pod monitoringv1.PodMonitor
			render(t, "podmonitor.yaml", &pod, values("podMonitor")...)
			p := pod.Spec.PodMetricsEndpoints[0]
			if diff := cmp.Diff(test.want, endpointOf(*p.Port, p.Scheme, p.TLSConfig, p.Authorization, p.Interval)); diff != "" {
				t.Errorf("PodMonitor: %s", diff)
			}
			if err := errors.Join(e.Validate(), p.Validate()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMonitoringThatContradictsItselfIsRefused, with a sentence that names the value.
func TestMonitoringThatContradictsItselfIsRefused(t *testing.T) {
	for values, want := range map[string]string{
		"metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true": "metrics.podMonitor.enabled",
		"metrics.serviceMonitor.enabled=true,metrics.service.create=false":    "metrics.service.create",
		"metrics.tokenSecret.name=mine":                                       "metrics.secure",
		"metrics.prometheusRule.disabled={CajectTargetRefuse}":                "disabled",
		"metrics.serviceMonitor.intervall=1m":                                 "intervall",
		"metrics.podMonitor.interval=often":                                   "interval",
		"metrics.prometheusRule.runbook=nowhere":                              "runbook",
		"metrics.dashboard.enable=true":                                       "enable",
	} {
		text, err := helm([]string{"template", "caject", filepath.Join(root, "charts", "caject")}, []string{values})
		if err == nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: helm says %v, %s", values, err, text)
		}
	}
}

// TestRules: they are what Prometheus accepts, each has what people need, its runbook is there, and docs/metrics.md lists it.
func TestRules(t *testing.T) {
	file := alerts(t)
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), promslog.NewNopLogger())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	runbooks, list := read("troubleshooting.md"), read("metrics.md")
	for _, rule := range groups.Groups[0].Rules {
		if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.For == 0 {
			t.Errorf("%s lacks something: %+v", rule.Alert, rule)
		}
		if want := "https://github.com/caject/caject/blob/main/docs/troubleshooting.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook_url"] != want {
			t.Errorf("the runbook of %s is at %s", rule.Alert, rule.Annotations["runbook_url"])
		}
		if !strings.Contains(runbooks, "\n### "+rule.Alert+"\n") {
			t.Errorf("docs/troubleshooting.md has no section %s", rule.Alert)
		}
		if !strings.Contains(list, fmt.Sprintf("[`%s`](troubleshooting.md#%s)", rule.Alert, strings.ToLower(rule.Alert))) {
			t.Errorf("docs/metrics.md does not list %s", rule.Alert)
		}
		var without monitoringv1.PrometheusRule
		render(t, "prometheusrule.yaml", &without, "metrics.prometheusRule.enabled=true", "metrics.prometheusRule.disabled={"+rule.Alert+"}")
		for _, other := range without.Spec.Groups[0].Rules {
			if other.Alert == rule.Alert {
				t.Errorf("%s cannot be left out", rule.Alert)
			}
		}
	}
}
