package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// caSecret is the Secret with caject's own CA.
func (i *installation) caSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := i.client.Get(t.Context(), client.ObjectKey{Namespace: playground.Namespace, Name: "caject-ca"}, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// works checks that an annotated CRD is filled at admission.
func (i *installation) works(t *testing.T, name string) {
	t.Helper()
	ca := playground.NewCA(name)
	i.create(t, playground.NewSecret(namespace, name, ca))
	crd := playground.NewCRD(name, playground.FromSecret(namespace, name))
	i.create(t, crd)
	if err := playground.Holds(crd, ca); err != nil {
		t.Error("in the answer to the create:", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	var port int
	if err := playground.FreePorts(&port); err != nil {
		t.Fatal(err)
	}
	return port
}

func TestTheAPIServerIsAway(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")

	// At start.
	if err := i.control.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	process := i.run(t, "caject.log")
	eventually(t, "live", func(ctx context.Context) error {
		if !process.Probe(ctx, "/livez") {
			return errors.New("it is not")
		}
		return nil
	})
	time.Sleep(3 * time.Second)
	if process.Ready(t.Context()) {
		t.Error("it is ready without having seen the API server")
	}
	if n := process.Logged("API server unreachable"); n != 1 {
		t.Errorf("it says %d times that the API server is away:\n%s", n, process.ReadLog())
	}
	if err := i.control.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca := playground.NewCA("before")
	i.create(t, playground.NewSecret(namespace, "before", ca))
	before := playground.NewValidating("before", 1, playground.FromSecret(namespace, "before"))
	i.create(t, before)
	i.filled(t, before, ca)

	// And later.
	if err := i.control.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	if !process.Ready(t.Context()) || !process.Probe(t.Context(), "/livez") {
		t.Error("what was seen last does not count while the API server is away")
	}
	if n := process.Logged("level=ERROR"); n > 2 {
		t.Errorf("%d errors are logged; each state should be logged once:\n%s", n, process.ReadLog())
	}
	if err := i.control.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	next := playground.NewCA("after")
	eventually(t, "rotate", func(ctx context.Context) error {
		return i.client.Update(ctx, playground.NewSecret(namespace, "before", next))
	})
	i.filled(t, before, ca, next)
	i.works(t, "after")
	if n := process.Logged("API server answers again"); n != 2 {
		t.Errorf("it says %d times that the API server is back", n)
	}
}

// TestAnUpgradeThatWipesOurOwnConfiguration is helm upgrade --force, or kubectl replace of the chart's manifests.
func TestAnUpgradeThatWipesOurOwnConfiguration(t *testing.T) {
	t.Parallel()
	i := own(t)
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	secret := i.caSecret(t)
	rendered, err := i.control.Helm(t.Context(), "get", "manifest", "caject", "--namespace", playground.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.control.Kubectl(t.Context(), rendered.Stdout, "replace", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	configuration := playground.NewMutating("caject", 0, nil)
	i.filled(t, configuration, secret.Data["ca.crt"])
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := i.control.Helm(t.Context(), "upgrade", "caject", filepath.Join(projectRoot(t), "charts", "caject"), "--namespace", playground.Namespace, "--reuse-values"); err != nil {
		t.Fatal(err)
	}
	i.filled(t, configuration, i.caSecret(t).Data["ca.crt"])
	i.works(t, "upgrade")
}

func projectRoot(t *testing.T) string {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestAURLInsteadOfTheService is for API servers that do not reach the cluster network.
func TestAURLInsteadOfTheService(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	i := own(t, fmt.Sprintf("webhook.url=https://127.0.0.1:%d", port), fmt.Sprintf("webhook.port=%d", port))
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.works(t, "url")
}
