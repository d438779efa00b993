package monitoring

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// aScene is one in which something happens, and which alerts follow: the severity and summary of each.
type aScene struct {
	values   []string // of the chart
	replicas int      // 2 if it is 0
	happens  func(scene)
	alerts   []string
}

const refused = `reason="SourceNotFound"`

// refuse has both replicas say of an object that it is refused.
func refuse(values string) func(scene) {
	return func(s scene) {
		for pod := range 2 {
			s[series(pod, "caject_target_state", `kind="APIService"`, `name="bad"`, `state="refused"`, refused)] = values
		}
	}
}

func expires(source string, seconds int) func(scene) {
	return func(s scene) { s.set(`source="`+source+`"`, fmt.Sprintf("%dx%d", began+seconds, length)) }
}

// restart has the first replica start anew, which takes five minutes.
func restart(s scene) {
	for name, values := range s {
		if value, _, _ := strings.Cut(values, "x"); strings.Contains(name, `pod="caject-0"`) {
			s[name] = value + "x19 stale _x4 " + value + "x34"
		}
	}
	s[series(0, "caject_resync_last_success_timestamp_seconds")] = fmt.Sprintf("%d+60x19 stale _x4 %d+60x34", began, began+25*60)
}

// set gives values to the series that have what in their names.
func set(what, values string) func(scene) { return func(s scene) { s.set(what, values) } }

var scenes = map[string]aScene{
	"all is well":                            {happens: func(scene) {}},
	"one replica alone, as the chart has it": {values: []string{"replicaCount=1"}, replicas: 1, happens: func(scene) {}},
	"a replica starts anew":                  {happens: restart},
	"an object is refused for a while":       {happens: refuse("_x10 1x8 stale _x40")},
	"an object is refused": {happens: refuse("1x60"), alerts: []string{
		"CajectTargetRefused warning: APIService bad is not injected: SourceNotFound"}},
	"an object is contested": {
		happens: func(s scene) {
			s[series(1, "caject_target_contested", `kind="APIService"`, `name="good"`, `manager="argocd"`)] = "1x60"
		},
		alerts: []string{"CajectTargetContested warning: argocd undoes the injection into APIService good"}},
	"a CA expires in six days": {happens: expires("secret/ns/ca", 6*day), alerts: []string{
		"CajectSourceExpiring warning: A CA in secret/ns/ca expires in 5d 23h 50m 0s"}},
	"a CA expires in eight days": {happens: expires("secret/ns/ca", 8*day)},
	"a CA expires in hours": {happens: expires("secret/ns/ca", day/2), alerts: []string{
		"CajectSourceExpiring critical: A CA in secret/ns/ca expires within a day"}},
	"a CA has expired": {happens: expires("secret/ns/ca", -day), alerts: []string{
		"CajectSourceExpiring critical: A CA in secret/ns/ca expires within a day"}},
	"caject's former CA expires, as it does after a rotation": {happens: expires("secret/caject/caject-ca", day/2)},
	"a replica gets no answers": {
		happens: func(s scene) {
			s[series(1, "caject_resync_last_success_timestamp_seconds")] = fmt.Sprintf("%dx%d", began, length)
		},
		alerts: []string{"CajectResyncStale warning: caject caject-1 gets no answers from the API server"}},
	"sources are read every ten minutes": {
		values: []string{"resyncInterval=10m"},
		happens: func(s scene) {
			s.set("caject_resync_last_success", fmt.Sprintf("%dx11 %dx11 %dx11 %dx11 %dx11", began, began+12*60, began+24*60, began+36*60, began+48*60))
		}},
	"a replica is not ready for a while": {happens: func(s scene) { s[series(0, "caject_ready")] = "0x8 1x51" }},
	"a replica is not ready": {happens: func(s scene) { s[series(0, "caject_ready")] = "0x60" }, alerts: []string{
		"CajectNotReady warning: caject caject-0 is not ready"}},
	"a replica is gone": {happens: set(`pod="caject-0"`, "stale _x59"), alerts: []string{
		"CajectReplicasMissing warning: 1 of 2 replicas of caject are scraped"}},
	"there are more replicas than the chart asks for": {replicas: 3, happens: func(scene) {}},
	"all are gone":                   {happens: set(`job="caject-metrics"`, "stale _x59"), alerts: []string{"CajectAbsent critical: No caject is scraped"}},
	"scaled to nothing by the chart": {values: []string{"replicaCount=0"}, happens: set(`job="caject-metrics"`, "stale _x59")},
	"a certificate is not renewed": {
		happens: func(s scene) {
			s[series(0, "caject_serving_certificate_expiry_timestamp_seconds")] = fmt.Sprintf("%dx%d", began+day, length)
		},
		alerts: []string{"CajectServingCertificateExpiring critical: The certificate of caject caject-0 is not renewed"}},
	"certificates live for a day": {values: []string{"servingCertificate.leafLifetime=24h"}, happens: func(s scene) {
		s.set("caject_serving_certificate", fmt.Sprintf("%dx%d", began+day/3, length))
	}},
	"the webhook is not reached": {happens: func(s scene) { s[series(0, "caject_webhook_unreached")] = "1x60" }, alerts: []string{
		"CajectWebhookUnreached warning: The API server does not reach the webhook of caject"}},
	"policies do not fill a kind": {happens: func(s scene) {
		s[series(1, "caject_admission_policies_ineffective", `kind="ValidatingWebhookConfiguration"`)] = "0x9 1x50"
	}, alerts: []string{"CajectPoliciesIneffective warning: The admission policies do not fill objects of kind ValidatingWebhookConfiguration"}},
	"one call has failed": {happens: func(s scene) { s.set(`name="inject.caject.io"`, "3x20 4x39") }},
	"calls fail": {happens: func(s scene) {
		s.set(`name="inject.caject.io"`, "3x10 4 4 5 5 6 6 7 7 8 8 9 9 10 10 11 11 12 12 13 13 14 14")
	}, alerts: []string{
		"CajectFailingOpen warning: The API server goes on without caject: calls of inject.caject.io fail"}},
	"hints fail for the first time ever, and go on": {
		happens: func(s scene) { s[apiServer("secrets.hint.caject.io", "validating")] = "_x10 1+1x40" },
		alerts:  []string{"CajectFailingOpen warning: The API server goes on without caject: calls of secrets.hint.caject.io fail"}},
}

// TestAlerts plays each scene.
func TestAlerts(t *testing.T) {
	var rule monitoringv1.PrometheusRule
	render(t, "prometheusrule.yaml", &rule, "metrics.prometheusRule.enabled=true")
	silent := map[fired]bool{}
	for _, r := range rule.Spec.Groups[0].Rules {
		silent[fired{r.Alert, r.Labels["severity"]}] = true
	}
	for sentence, test := range scenes {
		t.Run(sentence, func(t *testing.T) {
			if test.replicas == 0 {
				test.replicas = 2
			}
			s := healthy(test.replicas)
			test.happens(s)
			var got []string
			for key, found := range play(t, alerts(t, test.values...), s) {
				delete(silent, key)
				for _, alert := range found {
					got = append(got, key.alert+" "+key.severity+": "+alert.Annotations.Get("summary"))
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.alerts, got); diff != "" {
				t.Errorf("wanted (-), fired (+):\n%s", diff)
			}
		})
	}
	if len(silent) > 0 {
		t.Errorf("no scene has these fire: %v", slices.Collect(maps.Keys(silent)))
	}
}
