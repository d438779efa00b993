package field

import (
	"context"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// "kubectl apply" of kubebuilder's scaffold warns at each CRD, and alerts fire for ever: it annotates all of them, those without a
// conversion webhook, too (kubernetes-sigs/kubebuilder#3538).
func TestAnAlarmAboutEveryCRDOfAScaffold(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		const source = "scaffold"
		scaffold := playground.NewCRD("scaffold", playground.FromSecret(trial.Namespace, source))
		conversion := scaffold.Spec.Conversion
		scaffold.Spec.Conversion = nil
		for range 2 { // there is no Secret yet, either
			if said := f.apply(t, scaffold); said.Stderr != "" {
				t.Errorf("kubectl says %s", said.Stderr)
			}
		}
		published := cabundle.Reference{Kind: cabundle.Secret, Namespace: trial.Namespace, Name: source}.PublishedName()
		nothing := func() {
			t.Helper()
			if err := playground.Sleep(t.Context(), interval/6); err != nil {
				t.Fatal(err)
			}
			err := f.Client.Get(t.Context(), client.ObjectKey{Name: published}, &v1alpha1.CABundle{})
			if !apierrors.IsNotFound(err) {
				t.Errorf("there is a CABundle: %v", err)
			}
			events, err := playground.EventsOn(t.Context(), f.Client, scaffold)
			if err != nil {
				t.Fatal(err)
			}
			for _, event := range events {
				t.Errorf("Event %s: %s", event.Reason, event.Message)
			}
		}
		nothing()
		ca := playground.NewCA(source)
		f.census.Expect(trial.Namespace+"/"+source, ca)
		f.create(t, playground.NewSecret(trial.Namespace, source, ca))
		nothing()
		scaffold.Spec.Conversion = conversion
		f.apply(t, scaffold)
		now := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: scaffold.ObjectMeta}
		f.filled(t, now, ca)
		eventually(t, "show the source", func(ctx context.Context) error {
			return f.Client.Get(ctx, client.ObjectKey{Name: published}, &v1alpha1.CABundle{})
		})
	})
}

// apply has kubectl apply object, and deletes it when the test ends.
func (f *field) apply(t *testing.T, object client.Object) playground.Output {
	t.Helper()
	t.Cleanup(func() {
		if err := f.Client.Delete(context.WithoutCancel(t.Context()), object); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return f.kubectl(t, f.manifestOf(t, object, ""), "apply", "-f", "-")
}
