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

// hook is a webhook of a configuration.
type hook struct {
	name string
	// holds is what its caBundle has: the names of CAs, "ca" for that of the source; "Cg==" for the placeholder, nothing for nothing.
	holds string
}

// hooksOf reads webhooks, such as "a=foreign+ca b".
func hooksOf(text string) (all []hook) {
	for _, word := range strings.Fields(text) {
		name, holds, _ := strings.Cut(word, "=")
		all = append(all, hook{name, strings.ReplaceAll(holds, "+", " ")})
	}
	return all
}

// hooksBefore is a configuration of which two webhooks hold somebody's own CA beside the injected one.
const hooksBefore = "a=foreign+ca b=ca c=other+ca d=ca"

// renames are updates of it. What one keeps is looked up by the webhook's name, as kubectl apply and server-side apply do.
var renames = map[string]struct {
	update, want string
	// bare is what comes of it without policies, if that is something else: what the update has taken out is gone.
	bare string
}{
	"nothing held, in the same order":        {"a b c d", hooksBefore, "a=ca b=ca c=ca d=ca"},
	"swapped, with placeholders":             {"d=Cg== c=Cg== b=Cg== a=Cg==", "d=ca c=other+ca b=ca a=foreign+ca", "d=ca c=ca b=ca a=ca"},
	"swapped, with what they held":           {"b=ca a=foreign+ca d=ca c=other+ca", "b=ca a=foreign+ca d=ca c=other+ca", ""},
	"one added before the others":            {"n a b c d", "n=ca a=foreign+ca b=ca c=other+ca d=ca", "n=ca a=ca b=ca c=ca d=ca"},
	"one added with a CA of its own":         {"n=third " + hooksBefore, "n=third+ca " + hooksBefore, ""},
	"the first one taken away":               {"b c d", "b=ca c=other+ca d=ca", "b=ca c=ca d=ca"},
	"renamed: it is a new one":               {"n b c d", "n=ca b=ca c=other+ca d=ca", "n=ca b=ca c=ca d=ca"},
	"renamed, with what it held":             {"n=foreign+ca b c d", "n=foreign+ca b=ca c=other+ca d=ca", "n=foreign+ca b=ca c=ca d=ca"},
	"renamed, with its own CA alone":         {"n=foreign b=ca c=other d", "n=foreign+ca b=ca c=other+ca d=ca", ""},
	"renamed to the name of one taken away":  {"a d", "a=foreign+ca d=ca", "a=ca d=ca"},
	"another CA in the place of its own one": {"a=third b=ca c=other+ca d=ca", "a=third+ca b=ca c=other+ca d=ca", ""},
	"all at once":                            {"d c=Cg== n=third m a=ca", "d=ca c=other+ca n=third+ca m=ca a=ca", "d=ca c=ca n=third+ca m=ca a=ca"},
	"none left, and then one that is new":    {"n=Cg==", "n=ca", ""},
}

// "Some of the webhooks do not get a CA bundle injected" (kubev2v/forklift#596), or that of another one: webhooks are renamed, swapped, added and
// taken away in one update.
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
				if !f.policies && test.bare != "" {
					want = test.bare
				}
				for _, object := range []client.Object{
					playground.NewValidating(name, 4, playground.FromSecret(trial.Namespace, "wrong")),
					playground.NewMutating(name, 4, playground.FromSecret(trial.Namespace, "wrong")),
				} {
					setHooks(object, hooksOf("a=foreign b c=other d"), cas)
					f.create(t, object)
					f.holdsEach(t, object, hooksOf(hooksBefore), cas)
					f.rewrite(t, object, func() { setHooks(object, hooksOf(test.update), cas) })
					f.holdsEach(t, object, hooksOf(want), cas)
				}
			})
		}
	})
}

// rewrite writes what change makes of object, however often somebody else has written meanwhile.
func (f *field) rewrite(t *testing.T, object client.Object, change func()) {
	t.Helper()
	eventually(t, "update "+object.GetName(), func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change()
		return f.Client.Update(ctx, object)
	})
}

// bundleOf returns the CAs of words, one after the other.
func bundleOf(words string, cas map[string][]byte) []byte {
	var pem []byte
	for _, word := range strings.Fields(words) {
		pem = append(pem, cas[word]...)
	}
	return pem
}

// setHooks has a configuration call hooks in the place of what it calls.
func setHooks(object client.Object, hooks []hook, cas map[string][]byte) {
	values := make([][]byte, len(hooks))
	for i, each := range hooks {
		values[i] = bundleOf(each.holds, cas)
	}
	switch o := object.(type) {
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		o.Webhooks = playground.NewValidating(o.Name, len(hooks), nil).Webhooks
		for i := range o.Webhooks {
			o.Webhooks[i].Name = hooks[i].name + ".wrong.example.com"
		}
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		o.Webhooks = playground.NewMutating(o.Name, len(hooks), nil).Webhooks
		for i := range o.Webhooks {
			o.Webhooks[i].Name = hooks[i].name + ".wrong.example.com"
		}
	}
	playground.SetEachCABundle(object, values)
}

// holdsEach fails the test unless the webhooks of object get to hold what want has.
func (f *field) holdsEach(t *testing.T, object client.Object, want []hook, cas map[string][]byte) {
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
			if !bytes.Equal(got[i], bundleOf(each.holds, cas)) {
				return fmt.Errorf("webhook %s does not hold %q: %q", each.name, each.holds, namesOf(got[i], cas))
			}
		}
		return nil
	})
}

// namesOf says which CAs a bundle has.
func namesOf(pem []byte, cas map[string][]byte) (found []string) {
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
				setHooks(twin, hooksOf("a a"), cas)
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
		setHooks(object, hooksOf("a=foreign a b"), cas)
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
		want := hooksOf("a=foreign+ca a=ca b=ca")
		f.holdsEach(t, object, want, cas)
		f.kubectl(t, "", "annotate", "validatingwebhookconfiguration", "former", "example.com/touched=yes")
		f.holdsEach(t, object, want, cas)
	})
}
