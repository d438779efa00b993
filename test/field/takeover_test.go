package field

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// conversionGone is the CRD of playground.NewCRD without its conversion webhook, as an applier has it.
const conversionGone = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: %[1]s.%[1]s.example.com
spec:
  group: %[1]s.example.com
  names: {plural: %[1]s, singular: %[1]sx, kind: K%[1]s, listKind: K%[1]sList}
  scope: Cluster
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  conversion:
    strategy: %[2]s
`

// conversionThere is what conversionGone has beside that before.
const conversionThere = `
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {service: {namespace: default, name: webhook, path: /convert}}
`

// "CRDs with CA bundle injected by cainjector cannot be upgraded to version without webhook conversion via SSA"
// (cert-manager/cert-manager#4838). Two entries of its own are left, under either of the names that it has had.
func TestCRDCannotBeUpgradedToAVersionWithoutConversion(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		for name, test := range map[string]struct{ holds, manager string }{
			"goneold":   {"ca", "cainjector"},
			"gonenew":   {"ca", "cert-manager-cainjector"},
			"gonestale": {"foreign", "cainjector"}, // caject has something to write as well
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				cas := map[string][]byte{"ca": playground.NewCA("gone"), "foreign": playground.NewCA("gone before")}
				there := fmt.Sprintf(conversionGone, name, "Webhook") + conversionThere
				f.kubectl(t, there, "apply", "--server-side", "-f", "-")
				crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name + "." + name + ".example.com"}}
				t.Cleanup(func() { _ = f.Client.Delete(context.WithoutCancel(t.Context()), crd) })
				f.injectAsCainjector(t, crd, cas[test.holds], test.manager)

				// caject comes to know of it.
				f.create(t, playground.NewSecret(trial.Namespace, name, cas["ca"]))
				f.kubectl(t, "", "annotate", "crd", crd.Name, "cert-manager.io/inject-ca-from-secret="+trial.Namespace+"/"+name)
				if test.holds == "ca" {
					f.filled(t, crd, cas["ca"])
				} else {
					f.filled(t, crd, bundleOf(test.holds+" ca", cas))
				}
				f.ownsNothing(t, crd, test.manager)
				f.kubectl(t, fmt.Sprintf(conversionGone, name, "None"), "apply", "--server-side", "-f", "-")
				if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(crd), crd); err != nil {
					t.Fatal(err)
				}
				if crd.Spec.Conversion.Webhook != nil || crd.Spec.Conversion.Strategy != apiextensionsv1.NoneConverter {
					t.Errorf("its conversion is %+v", crd.Spec.Conversion)
				}
			})
		}
	})
}

// injectAsCainjector writes ca into crd by Update and by Apply, as cainjector does with its feature gate ServerSideApply off and on.
func (f *field) injectAsCainjector(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, ca []byte, manager string) {
	t.Helper()
	eventually(t, "inject", func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			return err
		}
		crd.Spec.Conversion.Webhook.ClientConfig.CABundle = ca
		return f.Client.Update(ctx, crd, client.FieldOwner(manager))
	})
	apply := fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":%q},`+
		`"spec":{"conversion":{"webhook":{"clientConfig":{"caBundle":%q}}}}}`, crd.Name, base64.StdEncoding.EncodeToString(ca))
	f.kubectl(t, apply, "apply", "--server-side", "--field-manager="+manager, "-f", "-")
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(crd), crd); err != nil {
		t.Fatal(err)
	}
	entries := 0
	for _, entry := range crd.ManagedFields {
		if entry.Manager == manager {
			entries++
		}
	}
	if entries != 2 {
		t.Fatalf("%s has %d entries: %v", manager, entries, crd.ManagedFields)
	}
}

// ownsNothing fails the test unless a field manager gets to own nothing of object.
func (f *field) ownsNothing(t *testing.T, object client.Object, manager string) {
	t.Helper()
	eventually(t, "take "+object.GetName()+" from "+manager, func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		for _, entry := range object.GetManagedFields() {
			if entry.Manager == manager {
				return fmt.Errorf("it owns, by %s, %s", entry.Operation, entry.FieldsV1.GetRawString())
			}
		}
		return nil
	})
}
