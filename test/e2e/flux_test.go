package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// TestFluxWaitsForASource by the Kustomization in docs/gitops.md: not before caject has looked at the source, and not while the source is missing.
func TestFluxWaitsForASource(t *testing.T) {
	t.Parallel()
	i := own(t)
	page := string(onThePage(t, "kind: Kustomization"))
	wait := func(page, source, timeout string) error {
		kustomization := strings.NewReplacer("secret.webhooks.serving-cert", "secret.e2e."+source, "timeout: 2m", "timeout: "+timeout).Replace(page)
		_, err := i.control.Client(t.Context(), "", "flux", "-kustomization", written(t, "kustomization.yaml", kustomization), "wait")
		return err
	}
	unseen := "apiVersion: caject.io/v1alpha1\nkind: CABundle\nmetadata: {name: secret.e2e.there}\nspec: {source: secret/e2e/there}\n"
	if _, err := i.control.Kubectl(t.Context(), unseen, "create", "--kubeconfig", i.Kubeconfig, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if err := wait(page, "there", "3s"); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("before caject runs: %v", err)
	}
	if unasked, _, _ := strings.Cut(page, "  healthCheckExprs:"); wait(unasked, "there", "3s") != nil {
		t.Error("Flux by itself does not take a CABundle for good about which nothing is known: the page need not say what good is")
	}
	if err := i.run(t, "caject.log").WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"there", "missing"} {
		i.create(t, playground.NewValidating(source, 1, playground.FromSecret(namespace, source)))
	}
	i.publication(t, "secret.e2e.missing", "not found", because(cabundle.SourceNotFound))
	if err := wait(page, "missing", "3s"); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("of a source that is missing: %v", err)
	}
	i.create(t, playground.NewSecret(namespace, "there", playground.NewCA("there")))
	if err := wait(page, "there", fmt.Sprint(timeout)); err != nil {
		t.Errorf("of a source that appears: %v", err)
	}
}
