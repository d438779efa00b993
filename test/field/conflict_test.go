package field

import (
	"context"
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// manifestOf returns object as somebody applies it, with caBundle in each of its fields; an empty one leaves the fields out.
func (f *field) manifestOf(t *testing.T, object client.Object, caBundle string) string {
	t.Helper()
	kind, err := f.Client.GroupVersionKindFor(object)
	if err != nil {
		t.Fatal(err)
	}
	object = object.DeepCopyObject().(client.Object)
	object.GetObjectKind().SetGroupVersionKind(kind)
	playground.SetCABundles(object, []byte(caBundle))
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	delete(fields, "status")
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// "Apply failed with 19 conflicts: conflicts with "cert-manager-cainjector"" (chaos-mesh/chaos-mesh#4822; of a CRD:
// kubernetes-sigs/cluster-api-provider-azure#4346): the manifest has placeholders, and is applied once more by the server.
func TestApplyFailedWithConflicts(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		ca := playground.NewCA("conflict")
		object := playground.NewValidating("conflict", 19, playground.FromSecret(trial.Namespace, "conflict"))
		text := f.manifestOf(t, object, "\n")
		f.kubectl(t, text, "apply", "--server-side", "-f", "-")
		t.Cleanup(func() { _ = f.Client.Delete(context.WithoutCancel(t.Context()), object) })

		// cainjector is there before caject can do anything, and owns all of it.
		var owned []any
		for _, webhook := range object.Webhooks {
			owned = append(owned, map[string]any{"name": webhook.Name, "clientConfig": map[string]any{"caBundle": ca}})
		}
		forced, err := json.Marshal(map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
			"metadata": map[string]any{"name": object.Name}, "webhooks": owned,
		})
		if err != nil {
			t.Fatal(err)
		}
		f.kubectl(t, string(forced), "apply", "--server-side", "--force-conflicts", "--field-manager=cert-manager-cainjector", "-f", "-")
		f.create(t, playground.NewSecret(trial.Namespace, "conflict", ca))
		f.ownsNothing(t, object, "cert-manager-cainjector")
		f.kubectl(t, text, "apply", "--server-side", "-f", "-")
		f.filled(t, object, ca)
	})
}

// "spec.conversion.webhookClientConfig.caBundle: Invalid value: []byte{0xa}: unable to load root certificates" (eclipse-che/che#23235):
// the next version of a manifest with a placeholder.
func TestUnableToLoadRootCertificates(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		ca := playground.NewCA("root")
		f.create(t, playground.NewSecret(trial.Namespace, "root", ca))
		for name, way := range map[string][]string{"rootapply": {"apply"}, "rootserver": {"apply", "--server-side"}, "rootreplace": {"replace"}} {
			crd := playground.NewCRD(name, playground.FromSecret(trial.Namespace, "root"))
			first := way
			if name == "rootreplace" {
				first = []string{"create"}
			}
			f.kubectl(t, f.manifestOf(t, crd, "\n"), append(first, "-f", "-")...)
			t.Cleanup(func() { _ = f.Client.Delete(context.WithoutCancel(t.Context()), crd) })
			f.filled(t, crd, ca)
			next := playground.NewCRD(name, crd.Annotations)
			next.Labels = map[string]string{"version": "2"}
			f.kubectl(t, f.manifestOf(t, next, "\n"), append(way, "-f", "-")...)
			f.filled(t, crd, ca)
			if crd.Labels["version"] != "2" {
				t.Errorf("%s: it was not applied", name)
			}
		}
	})
}

// "Every deploy overwrites ValidatingWebhookConfiguration" (open-policy-agent/gatekeeper#817): kubectl diff has nothing to show of a manifest
// without a caBundle, and with the policies of one with a placeholder either.
func TestEveryDeployOverwrites(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		ca := playground.NewCA("diff")
		f.create(t, playground.NewSecret(trial.Namespace, "diff", ca))
		for name, caBundle := range map[string]string{"diffabsent": "", "diffplaceholder": "\n"} {
			object := playground.NewValidating(name, 2, playground.FromSecret(trial.Namespace, "diff"))
			text := f.manifestOf(t, object, caBundle)
			f.kubectl(t, text, "apply", "--server-side", "-f", "-")
			t.Cleanup(func() { _ = f.Client.Delete(context.WithoutCancel(t.Context()), object) })
			f.filled(t, object, ca)
			if _, err := f.Control.Kubectl(t.Context(), text, "diff", "--server-side", "-f", "-"); (err != nil) != (caBundle != "" && !f.policies) {
				t.Errorf("%s: %v", name, err)
			}
			f.ownsNothing(t, object, "caject")
			before := object.ResourceVersion
			f.kubectl(t, text, "apply", "--server-side", "-f", "-")
			f.filled(t, object, ca)
			if after := object.ResourceVersion; (before != after) != (caBundle != "" && !f.policies) {
				t.Errorf("%s: resourceVersion %s became %s", name, before, after)
			}
		}
	})
}
