package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

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

// takesAway applies objects of some kinds, whose injected caBundle nobody owns, and then the next version, which has no place for one.
func (i *installation) takesAway(t *testing.T, name string, of []cabundle.Kind) {
	t.Helper()
	for sentence, test := range misfits() {
		if !slices.Contains(of, i.kindOf(t, test.make(""))) {
			continue
		}
		for _, how := range [][]string{{"apply", "--server-side"}, {"apply"}} {
			object := test.make(name + sentence + strings.TrimLeft(strings.Join(how[1:], ""), "-")[:min(1, len(how)-1)])
			stored := i.outgrows(t, object, test.change, how)
			if err := i.client.Delete(t.Context(), stored); err != nil {
				t.Error(err)
			}
		}
	}
	if slices.Contains(of, cabundle.CustomResourceDefinition) {
		i.takesTheRestAway(t, name)
	}
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
	if of := i.policyKinds(t, playground.Fill); len(of) > 0 && !slices.Contains(of, i.kindOf(t, object)) {
		i.inject(t, stored) // policies are what is tested, and none fills this kind
	}
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

// inject puts a CA into the caBundle of object as caject does: nobody owns it.
func (i *installation) inject(t *testing.T, object client.Object) {
	t.Helper()
	eventually(t, "inject into "+object.GetName(), func(ctx context.Context) error { // the API server writes the status of some
		if err := i.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		playground.SetCABundles(object, playground.NewCA("injected"))
		if err := i.client.Update(ctx, object, client.FieldOwner("injector")); err != nil {
			return err
		}
		object.SetManagedFields(slices.DeleteFunc(object.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool { return entry.Manager == "injector" }))
		return i.client.Update(ctx, object)
	})
}
