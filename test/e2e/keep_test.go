package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
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
	i.keepsWithoutWebhook(t)
	i.keeps(t, "before", cabundle.Kinds())
	i.takesAway(t, "before")

	// The API server evaluates policies in no fixed order. Which comes first in the list does not matter.
	i.renamePolicies(t, "caject-keep-", "a-keep-")
	i.keepsWithoutWebhook(t)
	for n := range 5 {
		i.keeps(t, fmt.Sprintf("after%d", n), cabundle.Kinds())
	}
	i.takesAway(t, "after")
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
	i.keeps(t, "webhook", []cabundle.Kind{cabundle.CustomResourceDefinition, cabundle.APIService})
	i.takesAway(t, "webhook")
}

// keepsWithoutWebhook waits until the policies that keep are evaluated.
func (i *installation) keepsWithoutWebhook(t *testing.T) {
	t.Helper()
	ca := playground.NewCA("probe")
	for kind, make := range kinds {
		stored := make("keepprobe", nil)
		playground.SetCABundles(stored, ca)
		if err := i.client.Create(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		eventually(t, "keep "+string(kind), func(context.Context) error {
			object := make("keepprobe", playground.FromSecret(namespace, "unknown"))
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

// misfit is an object that gets a caBundle, and then a version that has no place for one.
type misfit struct {
	make   func(name string) client.Object
	change func(client.Object)
}

func misfits() map[string]misfit {
	annotations := playground.FromSecret(namespace, "good")
	service := func(name string) *apiregistrationv1.APIService { return playground.NewAPIService(name, annotations) }
	return map[string]misfit{
		"insecure": {func(name string) client.Object { return service(name) }, func(o client.Object) {
			o.(*apiregistrationv1.APIService).Spec.InsecureSkipTLSVerify = true
		}},
		"local": {func(name string) client.Object { return service(name) }, func(o client.Object) {
			o.(*apiregistrationv1.APIService).Spec.Service = nil
		}},
		"unannotated": {func(name string) client.Object { return service(name) }, func(o client.Object) {
			o.SetAnnotations(nil)
			o.(*apiregistrationv1.APIService).Spec.InsecureSkipTLSVerify = true
		}},
		"unconverted": {func(name string) client.Object { return playground.NewCRD(name, annotations) }, func(o client.Object) {
			o.(*apiextensionsv1.CustomResourceDefinition).Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
		}},
	}
}

// takesAway applies objects whose injected caBundle nobody owns, and then the next version, which has no place for one.
func (i *installation) takesAway(t *testing.T, name string) {
	t.Helper()
	for sentence, test := range misfits() {
		for _, how := range [][]string{{"apply", "--server-side"}, {"apply"}} {
			object := test.make(name + sentence + strings.TrimLeft(strings.Join(how[1:], ""), "-")[:min(1, len(how)-1)])
			stored := i.outgrows(t, object, test.change, how)
			if err := i.client.Delete(t.Context(), stored); err != nil {
				t.Error(err)
			}
		}
	}
	i.takesTheRestAway(t, name)
}

// takesTheRestAway updates a CRD that does not convert by webhook any more, and of that has nothing but the caBundle.
func (i *installation) takesTheRestAway(t *testing.T, name string) {
	t.Helper()
	for sentence, annotations := range map[string]map[string]string{"asks": playground.FromSecret(namespace, "good"), "asked": nil} {
		crd := playground.NewCRD(name+sentence, playground.FromSecret(namespace, "good"))
		i.create(t, crd)
		eventually(t, "update "+crd.Name, func(ctx context.Context) error {
			if err := i.client.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
				return err
			}
			caBundle := crd.Spec.Conversion.Webhook.ClientConfig.CABundle
			if len(caBundle) == 0 {
				return fmt.Errorf("it is empty")
			}
			crd.Annotations = annotations
			crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter, Webhook: &apiextensionsv1.WebhookConversion{
				ClientConfig: &apiextensionsv1.WebhookClientConfig{CABundle: caBundle},
			}}
			return i.client.Update(ctx, crd)
		})
		if crd.Spec.Conversion.Webhook != nil {
			t.Errorf("%s: it is left with %+v", crd.Name, crd.Spec.Conversion.Webhook)
		}
		if len(i.warnings.about("caBundle removed: a CustomResourceDefinition")) == 0 {
			t.Errorf("%s: nobody is told", crd.Name)
		}
	}
}

// outgrows applies object, and then what change makes of it, and returns what is stored in the end.
func (i *installation) outgrows(t *testing.T, object client.Object, change func(client.Object), how []string) client.Object {
	t.Helper()
	output, err := i.control.Kubectl(t.Context(), i.manifest(t, object), append(how, "-f", "-")...)
	if err != nil {
		t.Fatal(output, err)
	}
	stored := object.DeepCopyObject().(client.Object)
	eventually(t, "fill "+object.GetName(), func(ctx context.Context) error {
		if err := i.client.Get(ctx, client.ObjectKeyFromObject(object), stored); err != nil {
			return err
		}
		if len(playground.CABundles(stored)[0]) == 0 {
			return fmt.Errorf("it is empty")
		}
		return nil
	})
	change(object)
	if output, err = i.control.Kubectl(t.Context(), i.manifest(t, object), append(how, "-f", "-")...); err != nil {
		t.Errorf("%s, kubectl %v: %v", object.GetName(), how, err)
	} else if _, ok := object.(*apiregistrationv1.APIService); ok && how[len(how)-1] == "--server-side" && !strings.Contains(output.Stderr, "caBundle removed") {
		t.Errorf("%s, kubectl %v: nobody is told: %q", object.GetName(), how, output.Stderr)
	}
	if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(object), stored); err != nil {
		t.Fatal(err)
	}
	if crd, ok := stored.(*apiextensionsv1.CustomResourceDefinition); ok && crd.Spec.Conversion.Webhook != nil {
		t.Errorf("%s, kubectl %v: it is left with %+v", object.GetName(), how, crd.Spec.Conversion.Webhook)
	}
	for _, got := range playground.CABundles(stored) {
		if len(got) > 0 {
			t.Errorf("%s, kubectl %v: it is left with a caBundle", object.GetName(), how)
		}
	}
	return stored
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
	gvk, err := i.client.GroupVersionKindFor(object)
	if err != nil {
		t.Fatal(err)
	}
	kind, ok := cabundle.KindOf(gvk.Group, gvk.Kind)
	if !ok {
		t.Fatal(gvk)
	}
	return manifestOf(t, kind, object)
}
