// Package scrape has a Prometheus, the real program, scrape a caject that runs, as docs/metrics.md says, with the CA, the account and the
// rules of the chart.
package scrape

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial/trialtest"
)

// timeout is generous: no test is about time.
const timeout = 30 * time.Second

// program is caject, built with the race detector.
var program string

func TestMain(m *testing.M) { trialtest.Main(m, &program) }

// TestPrometheusScrapesCaject over TLS and with a token, loads the alerts, and sees that the API server fails open once caject has ended.
func TestPrometheusScrapesCaject(t *testing.T) {
	w := start(t)
	p := w.prometheus(t)

	p.eventually(t, `up{job="caject"}`, "1")
	p.eventually(t, `up{job="powerless"}`, "0") // a token that the API server gave to an account without the right
	p.eventually(t, `up{job="apiserver"}`, "1")
	p.eventually(t, `caject_build_info`, "1")
	p.eventually(t, `caject_ready`, "1")
	p.eventually(t, `caject_leader`, "1")
	p.eventually(t, `caject_serving_certificate_expiry_timestamp_seconds - time() > bool 6 * 86400`, "1")
	p.rulesAreHealthy(t)
	p.eventually(t, `count(ALERTS{alertname="CajectReplicasMissing"})`, "1") // the chart asks for two
	if got := p.ask(t, `ALERTS{alertname!="CajectReplicasMissing"}`); len(got) > 0 {
		t.Errorf("all is well, and there are alerts: %v", got)
	}

	if err := w.process.Stop(); err != nil {
		t.Fatal(err)
	}
	p.eventually(t, `count(ALERTS{alertname="CajectAbsent"})`, "1")
	failed := `sum(apiserver_admission_webhook_fail_open_count{name="inject.caject.io"})`
	before := p.ask(t, failed)
	for i := range 2 {
		if err := w.client.Create(t.Context(), playground.NewCRD(fmt.Sprintf("scrapes%d", i), playground.FromSecret("default", "missing"))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the API server says that it went on without caject", func() error {
		if after := p.ask(t, failed); len(after) != 1 || len(before) == 1 && before[0] == after[0] {
			return fmt.Errorf("before: %v, after: %v", before, after)
		}
		return nil
	})
}

// world is a cluster with caject, whose metrics are served to some alone.
type world struct {
	control *playground.ControlPlane
	install *playground.Installation
	client  client.Client
	process *playground.Process
}

func start(t *testing.T) *world {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	if w.control, err = playground.StartControlPlane(root, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.control.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, kind := range []string{"ServiceMonitor", "PrometheusRule"} {
		if _, err := w.control.Kubectl(ctx, operatorsCRD(kind), "apply", "--filename=-"); err != nil {
			t.Fatal(err)
		}
		plural := strings.ToLower(kind) + "s.monitoring.coreos.com"
		if _, err := w.control.Kubectl(ctx, "", "wait", "--for=condition=Established", "crd/"+plural); err != nil {
			t.Fatal(err)
		}
	}
	if w.install, err = playground.Install(ctx, w.control, "metrics.secure=true", "metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true"); err != nil {
		t.Fatal(err)
	}
	if w.client, err = playground.NewClient(w.control.Config); err != nil {
		t.Fatal(err)
	}
	if w.process, err = w.install.Start(program, filepath.Join(w.control.Dir, "caject.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.process.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := w.process.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// operatorsCRD is one of the Prometheus operator's, by name: the chart needs no more.
func operatorsCRD(kind string) string {
	singular := strings.ToLower(kind)
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: %[2]ss.monitoring.coreos.com
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: %[1]s, singular: %[2]s, plural: %[2]ss}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
`, kind, singular)
}

func eventually(t *testing.T, sentence string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", sentence, err)
}
