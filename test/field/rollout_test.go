package field

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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

// A configuration that was made before Kubernetes 1.22, by admissionregistration.k8s.io/v1beta1, may have two webhooks of one name, and may be
// updated still. No policy can tell them apart: the resync fills each by its place, and takes nothing away.
func TestTwoWebhooksOfOneNameFromFormerDays(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		cas := map[string][]byte{"ca": playground.NewCA("former"), "foreign": playground.NewCA("former foreign")}
		f.create(t, playground.NewSecret(trial.Namespace, "former", cas["ca"]))
		object := playground.NewValidating("former", 3, playground.FromSecret(trial.Namespace, "former"))
		setWebhooks(object, []one{{"a", "foreign"}, {"a", ""}, {"b", ""}}, cas)
		object.TypeMeta = metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingWebhookConfiguration"}
		object.UID, object.CreationTimestamp = "former", metav1.Now()
		fail, equivalent := admissionregistrationv1.Fail, admissionregistrationv1.Equivalent
		seconds, everything := int32(10), &metav1.LabelSelector{}
		for i := range object.Webhooks { // what defaulting adds before something is stored
			w := &object.Webhooks[i]
			w.FailurePolicy, w.MatchPolicy, w.TimeoutSeconds, w.NamespaceSelector, w.ObjectSelector = &fail, &equivalent, &seconds, everything, everything
		}
		if err := f.Control.PutStored(t.Context(), "validatingwebhookconfigurations/former", object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Client.Delete(context.WithoutCancel(t.Context()), object) })
		want := []one{{"a", "foreign ca"}, {"a", "ca"}, {"b", "ca"}}
		f.holdsEach(t, object, want, cas)
		f.kubectl(t, "", "annotate", "validatingwebhookconfiguration", "former", "example.com/touched=yes")
		f.holdsEach(t, object, want, cas)
	})
}
