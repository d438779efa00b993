package field

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// one is a webhook of a configuration, by the first letter of its name.
type one struct {
	name string
	// holds is what its caBundle has: the names of CAs, "ca" for that of the source; "Cg==" for the placeholder, nothing for nothing.
	holds string
}

// renames are updates of a configuration whose webhooks a and c hold somebody's own CA beside the injected one, foreign and other; b and d
// only the injected one. What an update keeps is looked up by the webhook's name, as kubectl apply and server-side apply do.
var renames = map[string]struct {
	update []one
	want   []one
	// bare is what comes of it without policies, if that is something else: what the update has taken out is gone.
	bare []one
}{
	"nothing held, in the same order":        {[]one{{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}}, []one{{"a", "foreign ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, []one{{"a", "ca"}, {"b", "ca"}, {"c", "ca"}, {"d", "ca"}}},
	"swapped, with placeholders":             {[]one{{"d", "Cg=="}, {"c", "Cg=="}, {"b", "Cg=="}, {"a", "Cg=="}}, []one{{"d", "ca"}, {"c", "other ca"}, {"b", "ca"}, {"a", "foreign ca"}}, []one{{"d", "ca"}, {"c", "ca"}, {"b", "ca"}, {"a", "ca"}}},
	"swapped, with what they held":           {[]one{{"b", "ca"}, {"a", "foreign ca"}, {"d", "ca"}, {"c", "other ca"}}, []one{{"b", "ca"}, {"a", "foreign ca"}, {"d", "ca"}, {"c", "other ca"}}, nil},
	"one added before the others":            {[]one{{"n", ""}, {"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}}, []one{{"n", "ca"}, {"a", "foreign ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, []one{{"n", "ca"}, {"a", "ca"}, {"b", "ca"}, {"c", "ca"}, {"d", "ca"}}},
	"one added with a CA of its own":         {[]one{{"n", "third"}, {"a", "foreign ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, []one{{"n", "third ca"}, {"a", "foreign ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, nil},
	"the first one taken away":               {[]one{{"b", ""}, {"c", ""}, {"d", ""}}, []one{{"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, []one{{"b", "ca"}, {"c", "ca"}, {"d", "ca"}}},
	"renamed: it is a new one":               {[]one{{"n", ""}, {"b", ""}, {"c", ""}, {"d", ""}}, []one{{"n", "ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, []one{{"n", "ca"}, {"b", "ca"}, {"c", "ca"}, {"d", "ca"}}},
	"renamed, with what it held":             {[]one{{"n", "foreign ca"}, {"b", ""}, {"c", ""}, {"d", ""}}, []one{{"n", "foreign ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, []one{{"n", "foreign ca"}, {"b", "ca"}, {"c", "ca"}, {"d", "ca"}}},
	"renamed, with its own CA alone":         {[]one{{"n", "foreign"}, {"b", "ca"}, {"c", "other"}, {"d", ""}}, []one{{"n", "foreign ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, nil},
	"renamed to the name of one taken away":  {[]one{{"a", ""}, {"d", ""}}, []one{{"a", "foreign ca"}, {"d", "ca"}}, []one{{"a", "ca"}, {"d", "ca"}}},
	"another CA in the place of its own one": {[]one{{"a", "third"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, []one{{"a", "third ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}, nil},
	"all at once":                            {[]one{{"d", ""}, {"c", "Cg=="}, {"n", "third"}, {"m", ""}, {"a", "ca"}}, []one{{"d", "ca"}, {"c", "other ca"}, {"n", "third ca"}, {"m", "ca"}, {"a", "ca"}}, []one{{"d", "ca"}, {"c", "ca"}, {"n", "third ca"}, {"m", "ca"}, {"a", "ca"}}},
	"none left, and then one that is new":    {[]one{{"n", "Cg=="}}, []one{{"n", "ca"}}, nil},
}

// "the caBundle of the wrong webhook after an upgrade": webhooks are renamed, swapped, added and taken away in one update.
func TestTheCABundleOfTheWrongWebhook(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		cas := map[string][]byte{"Cg==": []byte("\n")}
		for _, name := range []string{"ca", "foreign", "other", "third"} {
			cas[name] = playground.NewCA("wrong " + name)
		}
		f.create(t, playground.NewSecret(trial.Namespace, "wrong", cas["ca"]))
		n := 0
		for sentence, test := range renames {
			n++
			name := fmt.Sprintf("wrong%d", n)
			t.Run(sentence, func(t *testing.T) {
				t.Parallel()
				want := test.want
				if !f.policies && test.bare != nil {
					want = test.bare
				}
				for _, object := range []client.Object{
					playground.NewValidating(name, 4, playground.FromSecret(trial.Namespace, "wrong")),
					playground.NewMutating(name, 4, playground.FromSecret(trial.Namespace, "wrong")),
				} {
					before := []one{{"a", "foreign ca"}, {"b", "ca"}, {"c", "other ca"}, {"d", "ca"}}
					setWebhooks(object, []one{{"a", "foreign"}, {"b", ""}, {"c", "other"}, {"d", ""}}, cas)
					f.create(t, object)
					f.holdsEach(t, object, before, cas)
					update(t, f, object, func() { setWebhooks(object, test.update, cas) })
					f.holdsEach(t, object, want, cas)
				}
			})
		}
	})
}

// update writes what change makes of object, however often somebody else has written meanwhile.
func update(t *testing.T, f *field, object client.Object, change func()) {
	t.Helper()
	eventually(t, "update "+object.GetName(), func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change()
		return f.Client.Update(ctx, object)
	})
}

// bundle returns the CAs of words, one after the other.
func bundle(words string, cas map[string][]byte) []byte {
	var pem []byte
	for _, word := range strings.Fields(words) {
		pem = append(pem, cas[word]...)
	}
	return pem
}

// setWebhooks has a configuration call ones in the place of what it calls.
func setWebhooks(object client.Object, ones []one, cas map[string][]byte) {
	values := make([][]byte, len(ones))
	for i, each := range ones {
		values[i] = bundle(each.holds, cas)
	}
	switch o := object.(type) {
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		o.Webhooks = playground.NewValidating(o.Name, len(ones), nil).Webhooks
		for i := range o.Webhooks {
			o.Webhooks[i].Name = ones[i].name + ".wrong.example.com"
		}
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		o.Webhooks = playground.NewMutating(o.Name, len(ones), nil).Webhooks
		for i := range o.Webhooks {
			o.Webhooks[i].Name = ones[i].name + ".wrong.example.com"
		}
	}
	playground.SetEachCABundle(object, values)
}

// holdsEach fails the test unless the webhooks of object get to hold what want has.
func (f *field) holdsEach(t *testing.T, object client.Object, want []one, cas map[string][]byte) {
	t.Helper()
	eventually(t, fmt.Sprintf("fill %T", object), func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		got := playground.CABundles(object)
		if len(got) != len(want) {
			return fmt.Errorf("it has %d webhooks", len(got))
		}
		for i, each := range want {
			if !bytes.Equal(got[i], bundle(each.holds, cas)) {
				return fmt.Errorf("webhook %s does not hold %q: %q", each.name, each.holds, names(got[i], cas))
			}
		}
		return nil
	})
}

// names says which CAs a bundle has.
func names(pem []byte, cas map[string][]byte) (found []string) {
	for name, ca := range cas {
		if bytes.Contains(pem, ca) {
			found = append(found, name)
		}
	}
	return found
}

// "Duplicate value": two webhooks of one name. The API server refuses such a configuration since admissionregistration.k8s.io/v1, and
// admission must not answer in its place.
func TestTwoWebhooksOfOneName(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		ca := playground.NewCA("twice")
		cas := map[string][]byte{"ca": ca}
		f.create(t, playground.NewSecret(trial.Namespace, "twice", ca))
		object := playground.NewValidating("twice", 2, playground.FromSecret(trial.Namespace, "twice"))
		f.create(t, object)
		f.filled(t, object, ca)
		for sentence, write := range map[string]func() error{
			"create": func() error {
				twin := playground.NewValidating("twins", 1, playground.FromSecret(trial.Namespace, "twice"))
				setWebhooks(twin, []one{{"a", ""}, {"a", ""}}, cas)
				return f.Client.Create(t.Context(), twin)
			},
			"update": func() error {
				twice := `[{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/1"}]`
				return f.Client.Patch(t.Context(), object, client.RawPatch(types.JSONPatchType, []byte(twice)))
			},
		} {
			err := write()
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "Duplicate value") {
				t.Errorf("%s: %v", sentence, err)
			}
		}
		f.filled(t, object, ca)
	})
}

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
					f.filled(t, crd, bundle(test.holds+" ca", cas))
				}
				eventually(t, "take over", func(ctx context.Context) error {
					if err := f.Client.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
						return err
					}
					for _, entry := range crd.ManagedFields {
						if entry.Manager == test.manager {
							return fmt.Errorf("%s has an entry by %s: %s", entry.Manager, entry.Operation, entry.FieldsV1.GetRawString())
						}
					}
					return nil
				})
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
