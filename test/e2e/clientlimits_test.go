package e2e

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// TestWithoutThePolicyAConfigurationIsBareForAMoment applies a placeholder again where nothing but the webhook is in force. The
// API server calls no webhook for webhook configurations: those wait for resync.
func TestWithoutThePolicyAConfigurationIsBareForAMoment(t *testing.T) {
	t.Parallel()
	i := own(t, "policy.enabled=false", "resyncInterval=1s")
	if err := i.run(t, "caject.log").WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca := playground.NewCA("bare")
	i.create(t, playground.NewSecret(namespace, "bare", ca))
	for kind, make := range kinds {
		object := make("bare"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "bare"))
		i.create(t, object)
		i.filled(t, object, ca)
		w := i.witness(t, object)
		i.edit(t, object, []byte("\n"))
		i.filled(t, object, ca)
		if kind.FilledAtAdmission() {
			w.testify(t, object)
		} else if err := <-w.failed; err == nil || !strings.Contains(err.Error(), "lost a certificate") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestEmptiedManagedFields is about an object whose managedFields somebody has emptied: at the next server-side apply, the API
// server has all that is there belong to "before-first-apply", the caBundle too.
func TestEmptiedManagedFields(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("emptied")
	shared.create(t, playground.NewSecret(namespace, "emptied", ca))
	conflicts := map[string]bool{"absent": false, "empty": true, "placeholder": true}
	for style, caBundle := range styles() {
		text, objects := manifestsOf(t, "emptied", "1", caBundle)
		for _, object := range objects {
			kind := cabundle.Kind(object.GetObjectKind().GroupVersionKind().Kind)
			if err := client.IgnoreNotFound(shared.client.Delete(t.Context(), object)); err != nil {
				t.Fatal(err)
			}
			shared.create(t, kinds[kind](strings.TrimSpace("emptied"+strings.ToLower(string(kind))), playground.FromSecret(namespace, "emptied")))
		}
		for _, object := range objects {
			shared.filled(t, object, ca)
			empty := client.RawPatch("application/json-patch+json", []byte(`[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`))
			if err := shared.client.Patch(t.Context(), object, empty); err != nil {
				t.Fatal(err)
			}
		}
		_, err := shared.control.Kubectl(t.Context(), text, "apply", "--server-side", "-f", "-")
		if conflict := err != nil && strings.Contains(err.Error(), "before-first-apply"); conflict != conflicts[style] {
			t.Errorf("%s: %v", style, err)
		}
		if _, err := shared.control.Kubectl(t.Context(), text, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
			t.Errorf("%s, forced: %v", style, err)
		}
		for _, object := range objects {
			shared.filled(t, object, ca)
		}
	}
}
