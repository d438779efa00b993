package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// TestThePoliciesKeepAndTakeAway is about updates while caject does not run.
func TestThePoliciesKeepAndTakeAway(t *testing.T) {
	t.Parallel()
	i := strict(t)
	ca, former := playground.NewCA("ca"), playground.NewCA("former")
	i.shard(t, "keep", map[string]string{"secret/e2e/good": playground.Entry(ca, former)})
	kept := i.policyKinds(t, playground.Keep)
	if len(kept) == 0 {
		i.loses(t) // caject, which would keep, does not run
		return
	}
	i.keepsWithoutWebhook(t, kept)
	i.keeps(t, "before", kept)
	i.takesAway(t, "before", kept)

	// The API server evaluates policies in no fixed order. Which comes first in the list does not matter.
	i.renamePolicies(t, "caject-keep-", "a-keep-")
	i.keepsWithoutWebhook(t, kept)
	for n := range 5 {
		i.keeps(t, fmt.Sprintf("after%d", n), kept)
	}
	i.takesAway(t, "after", kept)
}

// loses fails the test unless an update that leaves the caBundle out is stored like that, for all kinds.
func (i *installation) loses(t *testing.T) {
	t.Helper()
	for kind, make := range kinds {
		name := "loses" + strings.ToLower(string(kind))
		stored := make(name, nil)
		playground.SetCABundles(stored, playground.NewCA("good"))
		i.create(t, stored)
		for _, got := range i.answer(t, make(name, playground.FromSecret(namespace, "good")), true) {
			if len(got) > 0 {
				t.Errorf("%s: without policy and webhook, %.60q is kept", kind, got)
			}
		}
	}
}

// TestWithoutThePoliciesTheWebhookKeepsAndTakesAway is about clusters that evaluate no such policies.
func TestWithoutThePoliciesTheWebhookKeepsAndTakesAway(t *testing.T) {
	t.Parallel()
	i := own(t, "policy.enabled=false")
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.create(t, playground.NewSecret(namespace, "good", playground.NewCA("ca")))
	admitted := []cabundle.Kind{cabundle.CustomResourceDefinition, cabundle.APIService}
	i.keeps(t, "webhook", admitted)
	i.takesAway(t, "webhook", admitted)
}

// keepsWithoutWebhook waits until the policies that keep are evaluated for kinds.
func (i *installation) keepsWithoutWebhook(t *testing.T, of []cabundle.Kind) {
	t.Helper()
	ca := playground.NewCA("probe")
	for _, kind := range of {
		make := kinds[kind]
		name := "keepprobe" + strings.ToLower(string(kind)) // the API server makes an APIService for the group of a CRD
		stored := make(name, nil)
		playground.SetCABundles(stored, ca)
		if err := i.client.Create(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		eventually(t, "keep "+string(kind), func(context.Context) error {
			object := make(name, playground.FromSecret(namespace, "unknown"))
			for _, got := range i.answer(t, object, true) {
				if !bytes.Equal(got, ca) {
					return fmt.Errorf("it holds %.20q", got)
				}
			}
			return nil
		})
		if err := i.client.Delete(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		eventually(t, "delete "+string(kind), func(ctx context.Context) error {
			if err := i.client.Get(ctx, client.ObjectKeyFromObject(stored), stored); err == nil {
				return fmt.Errorf("it is still there")
			}
			return nil
		})
	}
}

// keeps updates good objects of kinds, in each way in which they could lose their certificates.
func (i *installation) keeps(t *testing.T, name string, of []cabundle.Kind) {
	t.Helper()
	good, other := playground.NewCA("good"), playground.NewCA("other")
	cases := map[string]struct {
		annotations map[string]string
		held, want  []byte
	}{
		"the annotation is misspelt":        {map[string]string{cabundle.InjectAnnotation: "good"}, []byte("\n"), good},
		"the source is missing":             {playground.FromSecret(namespace, "unknown"), nil, good},
		"the source is another one":         {playground.FromSecret(namespace, "good"), []byte("\n"), good},
		"text in its place":                 {playground.FromSecret(namespace, "unknown"), []byte("to be filled in"), good},
		"half of it":                        {playground.FromSecret(namespace, "unknown"), good[:len(good)/2], good},
		"other certificates are somebody's": {playground.FromSecret(namespace, "unknown"), other, other},
		"nobody asks for it any more":       {nil, nil, nil},
	}
	for _, kind := range of {
		name := name + strings.ToLower(string(kind))
		stored := kinds[kind](name, nil)
		playground.SetCABundles(stored, good)
		i.create(t, stored)
		for sentence, test := range cases {
			object := kinds[kind](name, test.annotations)
			playground.SetCABundles(object, test.held)
			for n, got := range i.answer(t, object, true) {
				// The webhook merges what the source has.
				if !bytes.HasPrefix(got, test.want) || len(test.want) == 0 && len(got) > 0 {
					t.Errorf("%s: %s: caBundle %d is %.60q", kind, sentence, n, got)
				}
			}
		}
	}
}

// renamePolicies gives each policy whose name begins with before a name that begins with after.
func (i *installation) renamePolicies(t *testing.T, before, after string) {
	t.Helper()
	var policies admissionregistrationv1.MutatingAdmissionPolicyList
	var bindings admissionregistrationv1.MutatingAdmissionPolicyBindingList
	for _, list := range []client.ObjectList{&policies, &bindings} {
		if err := i.client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	renamed := 0
	replace := func(old, copied client.Object) {
		rest, ok := strings.CutPrefix(old.GetName(), before)
		if !ok {
			return
		}
		renamed++
		copied.SetName(after + rest)
		copied.SetResourceVersion("")
		copied.SetUID("")
		if err := i.client.Delete(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if err := i.client.Create(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
	}
	for n := range policies.Items {
		replace(&policies.Items[n], policies.Items[n].DeepCopy())
	}
	for n := range bindings.Items {
		copied := bindings.Items[n].DeepCopy()
		copied.Spec.PolicyName = strings.Replace(copied.Spec.PolicyName, before, after, 1)
		replace(&bindings.Items[n], copied)
	}
	if renamed == 0 {
		t.Fatalf("no policy begins with %s", before)
	}
}

// manifest returns object as JSON, with its kind.
func (i *installation) manifest(t *testing.T, object client.Object) string {
	t.Helper()
	return manifestOf(t, i.kindOf(t, object), object)
}

func (i *installation) kindOf(t *testing.T, object client.Object) cabundle.Kind {
	t.Helper()
	gvk, err := i.client.GroupVersionKindFor(object)
	if err != nil {
		t.Fatal(err)
	}
	kind, ok := cabundle.KindOf(gvk.Group, gvk.Kind)
	if !ok {
		t.Fatal(gvk)
	}
	return kind
}
