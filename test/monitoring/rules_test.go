package monitoring

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

// alerts returns the chart's rules, as the operator would write them to a file for Prometheus.
func alerts(t *testing.T, values ...string) string {
	t.Helper()
	var rule monitoringv1.PrometheusRule
	render(t, "prometheusrule.yaml", &rule, append(values, "metrics.prometheusRule.enabled=true")...)
	text, err := yaml.Marshal(rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fired is an alert that fires, or a rule that can make one: its name and severity.
type fired struct{ alert, severity string }

// play lets Prometheus evaluate the rules on the scene for an hour. It returns which alerts fire at any time, each with the labels and
// annotations that it had first.
func play(t *testing.T, ruleFile string, s scene) map[fired][]rules.Alert {
	t.Helper()
	begin := time.Unix(began, 0).UTC()
	suite, err := promqltest.NewLazyLoader(s.load(), promqltest.LazyLoaderOpts{StartTime: begin})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := suite.Close(); err != nil {
			t.Error(err)
		}
	}()
	groups := load(t, ruleFile, suite)
	found := map[fired][]rules.Alert{}
	for minute := range length {
		at := begin.Add(time.Duration(minute) * time.Minute)
		suite.WithSamplesTill(at, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		})
		for _, group := range groups {
			group.Eval(suite.Context(), at)
			for _, rule := range group.Rules() {
				if err := rule.LastError(); err != nil {
					t.Fatalf("%s: %v", rule.Name(), err)
				}
				note(found, rule.(*rules.AlertingRule))
			}
		}
	}
	return found
}

// note adds to found what of rule fires now.
func note(found map[fired][]rules.Alert, rule *rules.AlertingRule) {
	for _, alert := range rule.ActiveAlerts() {
		key := fired{rule.Name(), alert.Labels.Get("severity")}
		same := func(other rules.Alert) bool { return labels.Equal(other.Labels, alert.Labels) }
		if alert.State == rules.StateFiring && !slices.ContainsFunc(found[key], same) {
			found[key] = append(found[key], *alert)
		}
	}
}

// load has Prometheus read a file of rules.
func load(t *testing.T, ruleFile string, suite *promqltest.LazyLoader) []*rules.Group {
	t.Helper()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:    rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		AppendableV2: suite.Storage(),
		Context:      t.Context(),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Logger:       promslog.NewNopLogger(),
	})
	byName, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, ruleFile)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var groups []*rules.Group
	for _, group := range byName {
		for _, rule := range group.Rules() {
			rule.(*rules.AlertingRule).SetRestored(true)
		}
		groups = append(groups, group)
	}
	return groups
}
