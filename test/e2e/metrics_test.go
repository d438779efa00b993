package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
)

// metrics returns what caject serves.
func (i *installation) metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	return playground.Metrics(ctx, i.MetricsPort)
}

// find returns the metric of a family that has the given labels, among others.
func find(family *dto.MetricFamily, labels map[string]string) *dto.Metric {
	for _, metric := range family.GetMetric() {
		matching := 0
		for _, label := range metric.Label {
			if value, ok := labels[label.GetName()]; ok && value == label.GetValue() {
				matching++
			}
		}
		if matching == len(labels) {
			return metric
		}
	}
	return nil
}

// calls returns how many requests caject says that it has served at path.
func (i *installation) calls(t *testing.T, path string) float64 {
	t.Helper()
	families, err := i.metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	family := families["controller_runtime_webhook_requests_total"]
	if family == nil {
		t.Fatal("there is no such metric")
	}
	total := 0.0
	for _, metric := range family.Metric {
		if find(&dto.MetricFamily{Metric: []*dto.Metric{metric}}, map[string]string{"webhook": path}) != nil {
			total += metric.Counter.GetValue()
		}
	}
	return total
}

// TestTheDocumentedMetricsAreServed compares docs/metrics.md with what is served, both ways: names, types and labels.
func TestTheDocumentedMetricsAreServed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(projectRoot(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	word := regexp.MustCompile("`([a-z]+)`")
	for _, row := range regexp.MustCompile("(?m)^\\| `(caject_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		var labels []string
		for _, label := range word.FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		documented[row[1]] = row[2] + " " + strings.Join(labels, ",")
	}

	// One of each, so that all families have something to serve.
	shared.works(t, "metrics")
	shared.create(t, playground.NewMutating("metrics", 1, playground.FromSecret(namespace, "metrics-missing")))
	shared.fight(t, "metricsfight")
	eventually(t, "serve what is documented", func(ctx context.Context) error {
		families, err := shared.metrics(ctx)
		if err != nil {
			return err
		}
		served := map[string]string{}
		for name, family := range families {
			if strings.HasPrefix(name, "caject_") {
				served[name] = signature(family)
			}
		}
		if diff := cmp.Diff(documented, served); diff != "" {
			return fmt.Errorf("documented, but not served (-), and served, but not documented (+):\n%s", diff)
		}
		return nil
	})
}

// fight has somebody undo, until the test ends, whatever caject does to a configuration, which is returned.
func (i *installation) fight(t *testing.T, name string) client.Object {
	t.Helper()
	i.create(t, playground.NewSecret(namespace, name, playground.NewCA(name)))
	target := playground.NewValidating(name, 1, playground.FromSecret(namespace, name))
	i.create(t, target)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		contested, own := target.DeepCopy(), playground.NewCA("fighter")
		for ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
			if err := i.client.Get(ctx, client.ObjectKeyFromObject(contested), contested); err != nil || playground.Holds(contested, own) == nil {
				continue
			}
			playground.SetCABundles(contested, own)
			_ = i.client.Update(ctx, contested, client.FieldOwner("fighter")) // else at the next round
		}
	}()
	return target
}

func TestWhoeverFightsIsNamed(t *testing.T) {
	t.Parallel()
	target := shared.fight(t, "fight")
	if message := shared.event(t, target, "TargetContested"); !strings.Contains(message, `"fighter" keeps changing the caBundle back`) {
		t.Errorf("Event %q", message)
	}
	eventually(t, "the metric names it", func(ctx context.Context) error {
		families, err := shared.metrics(ctx)
		if err == nil && find(families["caject_target_contested"], map[string]string{"name": "fight", "manager": "fighter"}) == nil {
			err = fmt.Errorf("not so: %v", families["caject_target_contested"])
		}
		return err
	})
}

func TestTheMetricsSayWhatIsTheMatter(t *testing.T) {
	t.Parallel()
	expiry := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	shared.create(t, playground.NewSecret(namespace, "state", append(playground.NewCA("state"), cabundletest.CA("soon", time.Now().Add(-time.Hour), expiry)...)))
	good := playground.NewValidating("stategood", 1, playground.FromSecret(namespace, "state"))
	bad := playground.NewValidating("statebad", 1, playground.FromSecret(namespace, "state-missing"))
	malformed := playground.NewAPIService("statemalformed", map[string]string{cabundle.InjectCAFromAnnotation: "x"})
	shared.create(t, good, bad, malformed)
	state := func(kind cabundle.Kind, object client.Object, state, reason string) map[string]string {
		return map[string]string{"kind": string(kind), "name": object.GetName(), "state": state, "reason": reason}
	}
	expect := func(what string, found func(map[string]*dto.MetricFamily) bool) {
		t.Helper()
		eventually(t, what, func(ctx context.Context) error {
			families, err := shared.metrics(ctx)
			if err == nil && !found(families) {
				err = fmt.Errorf("not so: %v", families["caject_target_state"])
			}
			return err
		})
	}
	for _, labels := range []map[string]string{
		state(cabundle.ValidatingWebhookConfiguration, good, "injected", ""),
		state(cabundle.ValidatingWebhookConfiguration, bad, "refused", "SourceNotFound"),
		state(cabundle.APIService, malformed, "refused", "InvalidAnnotation"),
	} {
		expect(fmt.Sprint(labels), func(families map[string]*dto.MetricFamily) bool {
			return find(families["caject_target_state"], labels) != nil
		})
	}
	expect("the expiry", func(families map[string]*dto.MetricFamily) bool {
		metric := find(families["caject_bundle_expiry_timestamp_seconds"], map[string]string{"source": "secret/" + namespace + "/state"})
		return metric.GetGauge().GetValue() == float64(expiry.Unix())
	})
	if err := shared.client.Delete(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	expect("nothing stays of what is gone", func(families map[string]*dto.MetricFamily) bool {
		return find(families["caject_target_state"], map[string]string{"name": bad.Name}) == nil
	})
}
