package e2e

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
		if kind.Admitted() {
			w.testify(t, object)
		} else if err := <-w.failed; err == nil || !strings.Contains(err.Error(), "lost a certificate") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	i.fluxSeesDrift(t, ca)
}

// fluxSeesDrift has Flux apply, with i, and compare: a placeholder in a webhook configuration differs for ever. (Flux drops an empty
// caBundle by itself.)
func (i *installation) fluxSeesDrift(t *testing.T, ca []byte) {
	t.Helper()
	flux := func(text, verb string) string {
		output, err := i.control.Client(t.Context(), text, "flux", verb)
		if err != nil {
			t.Fatal(err)
		}
		return output.Stdout
	}
	for style, caBundle := range styles() {
		text, objects := manifestsOf(t, "bareflux", "1", caBundle)
		text = strings.ReplaceAll(text, namespace+"/bareflux", namespace+"/bare")
		flux(text, "apply")
		for _, object := range objects {
			i.filled(t, object, ca)
		}
		drifted := linesWithout(flux(text, "diff"), " unchanged")
		for _, line := range drifted {
			if !strings.Contains(line, "WebhookConfiguration ") {
				t.Errorf("%s: differs: %s", style, line)
			}
		}
		if drifts := len(drifted) > 0; drifts != (style == "placeholder") {
			t.Errorf("%s: differing: %q", style, drifted)
		}
	}
}

// TestEmptiedManagedFields is about an object whose managedFields somebody has emptied: at the next server-side apply, the API
// server has all that is there belong to "before-first-apply", so whoever says anything else of the caBundle conflicts.
func TestEmptiedManagedFields(t *testing.T) {
	t.Parallel()
	conflicts := map[string]bool{"absent": false, "empty": true, "placeholder": true}
	for style, caBundle := range styles() {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			name, ca := "emptied"+style, playground.NewCA(style)
			shared.create(t, playground.NewSecret(namespace, name, ca))
			s := newStory(t, tool{apply: kubectl("create")}, name, caBundle)
			s.begin(t)
			s.filled(t, ca)
			for _, object := range s.objects {
				empty := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`))
				if err := shared.client.Patch(t.Context(), object, empty); err != nil {
					t.Fatal(err)
				}
			}
			text, _ := manifestsOf(t, name, "1", caBundle)
			_, err := shared.control.Kubectl(t.Context(), text, "apply", "--server-side", "-f", "-")
			conflict := err != nil && strings.Contains(err.Error(), "before-first-apply") && strings.Contains(err.Error(), "caBundle")
			if conflict != conflicts[style] {
				t.Errorf("kubectl says %v", err)
			}
			if err := kubectl("apply", "--server-side", "--force-conflicts")(t, name, text); err != nil {
				t.Error("forced:", err)
			}
			s.filled(t, ca)
		})
	}
}
