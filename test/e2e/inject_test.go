package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// kinds make an object of each kind with the given name and annotations.
var kinds = map[cabundle.Kind]func(name string, annotations map[string]string) client.Object{
	cabundle.CustomResourceDefinition: func(name string, annotations map[string]string) client.Object {
		return playground.NewCRD(name, annotations)
	},
	cabundle.APIService: func(name string, annotations map[string]string) client.Object {
		return playground.NewAPIService(name, annotations)
	},
	cabundle.ValidatingWebhookConfiguration: func(name string, annotations map[string]string) client.Object {
		return playground.NewValidating(name, 3, annotations)
	},
	cabundle.MutatingWebhookConfiguration: func(name string, annotations map[string]string) client.Object {
		return playground.NewMutating(name, 3, annotations)
	},
}

// eachKind runs test for objects of each kind, side by side; name is good for the objects of one run.
func eachKind(t *testing.T, prefix string, test func(t *testing.T, kind cabundle.Kind, name string)) {
	for kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			test(t, kind, prefix+strings.ToLower(string(kind)))
		})
	}
}

func TestACreatedObjectIsFilled(t *testing.T) {
	t.Parallel()
	eachKind(t, "create", func(t *testing.T, kind cabundle.Kind, name string) {
		ca := playground.NewCA(name)
		shared.create(t, playground.NewSecret(namespace, name, ca))
		object := kinds[kind](name, playground.FromSecret(namespace, name))
		shared.create(t, object)
		if kind.Admitted() {
			// Create has put the API server's answer into object.
			if err := playground.Holds(object, ca); err != nil {
				t.Error("in the answer to the create:", err)
			}
		}
		shared.filled(t, object, ca)
	})
}

func TestTheAPIServersCAIsInjected(t *testing.T) {
	t.Parallel()
	eachKind(t, "apiserver", func(t *testing.T, kind cabundle.Kind, name string) {
		object := kinds[kind](name, map[string]string{cabundle.InjectAPIServerCAAnnotation: "true"})
		shared.create(t, object)
		shared.filled(t, object, shared.control.Config.CAData)
	})
}

func TestAnUnannotatedObjectIsLeftAlone(t *testing.T) {
	t.Parallel()
	eachKind(t, "plain", func(t *testing.T, kind cabundle.Kind, name string) {
		object := kinds[kind](name, map[string]string{"example.com/other": "annotation"})
		shared.create(t, object)
		time.Sleep(2 * time.Second) // two rounds of the periodic loop
		if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		if err := playground.Holds(object, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestARotationIsFollowed(t *testing.T) {
	t.Parallel()
	one, two := playground.NewCA("one"), playground.NewCA("two")
	secret := playground.NewSecret(namespace, "rotation", one)
	shared.create(t, secret)
	for kind, make := range kinds {
		object := make("rotation"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "rotation"))
		shared.create(t, object)
		defer shared.filled(t, object, one, two) // after the update below
		shared.filled(t, object, one)
	}
	secret.Data["ca.crt"] = two
	if err := shared.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func TestNothingButCABundleChanges(t *testing.T) {
	t.Parallel()
	shared.create(t, playground.NewSecret(namespace, "only", playground.NewCA("only")))
	eachKind(t, "only", func(t *testing.T, kind cabundle.Kind, name string) {
		plain, annotated := kinds[kind](name, nil), kinds[kind](name, nil)
		shared.create(t, plain)
		eventually(t, "annotate", func(ctx context.Context) error {
			if err := shared.client.Get(ctx, client.ObjectKeyFromObject(plain), plain); err != nil {
				return err
			}
			annotated = plain.DeepCopyObject().(client.Object)
			annotated.SetAnnotations(playground.FromSecret(namespace, "only"))
			return shared.client.Update(ctx, annotated)
		})
		eventually(t, "fill", func(ctx context.Context) error {
			if err := shared.client.Get(ctx, client.ObjectKeyFromObject(annotated), annotated); err != nil {
				return err
			}
			if bundles := playground.CABundles(annotated); len(bundles[0]) == 0 {
				return errors.New("not yet")
			}
			return nil
		})
		if diff := cmp.Diff(specOf(t, plain), specOf(t, annotated)); diff != "" {
			t.Error(diff)
		}
	})
}

// specOf returns all of an object but its metadata, status and caBundles.
func specOf(t *testing.T, object client.Object) any {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	delete(value, "metadata")
	delete(value, "status")
	var drop func(any)
	drop = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "caBundle")
			for _, inner := range v {
				drop(inner)
			}
		case []any:
			for _, inner := range v {
				drop(inner)
			}
		}
	}
	drop(value)
	return value
}

func TestWhatIsRightIsNotWritten(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("still")
	secret := playground.NewSecret(namespace, "still", ca)
	shared.create(t, secret)
	eachKind(t, "still", func(t *testing.T, kind cabundle.Kind, name string) {
		object := kinds[kind](name, playground.FromSecret(namespace, "still"))
		shared.create(t, object)
		shared.filled(t, object, ca)
		// The API server's own controllers write the status, some time after it was created.
		eventually(t, "stand still", func(ctx context.Context) error {
			before := object.GetResourceVersion()
			time.Sleep(3 * time.Second) // three rounds of the periodic loop
			shared.filled(t, object, ca)
			if after := object.GetResourceVersion(); after != before {
				return fmt.Errorf("resourceVersion went from %s to %s", before, after)
			}
			return nil
		})
	})
}

func TestWhatIsThereIsMerged(t *testing.T) {
	t.Parallel()
	foreign, ca := playground.NewCA("foreign"), playground.NewCA("merge")
	shared.create(t, playground.NewSecret(namespace, "merge", ca))
	crd := playground.NewCRD("merge", playground.FromSecret(namespace, "merge"))
	crd.Spec.Conversion.Webhook.ClientConfig.CABundle = foreign
	configuration := playground.NewValidating("merge", 2, playground.FromSecret(namespace, "merge"))
	configuration.Webhooks[0].ClientConfig.CABundle = append([]byte("# a comment\n"), foreign...)
	configuration.Webhooks[1].ClientConfig.CABundle = append(append([]byte{}, foreign...), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...)
	shared.create(t, crd, configuration)
	shared.filled(t, crd, foreign, ca)
	shared.filled(t, configuration, foreign, ca)

	next := playground.NewCA("next")
	shared.changeSecret(t, "merge", func(s *corev1.Secret) { s.Data["ca.crt"] = next })
	shared.filled(t, crd, foreign, ca, next)
	shared.filled(t, configuration, foreign, ca, next)
}

func TestADryRunShowsTheBundleAndStoresNothing(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("dry")
	shared.create(t, playground.NewSecret(namespace, "dry", ca))
	crd := playground.NewCRD("dry", playground.FromSecret(namespace, "dry"))
	if err := shared.client.Create(t.Context(), crd, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if err := playground.Holds(crd, ca); err != nil {
		t.Error(err)
	}
	if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(crd), crd); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the CRD of a dry run: %v", err)
	}
}

// TestAPlaceholderAppliedOverAGoodBundle is what an upgrade does whose manifest carries Cg==. Without admission, the
// API server refuses it for a CRD.
func TestAPlaceholderAppliedOverAGoodBundle(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"clientside": nil, "serverside": {"--server-side"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := playground.NewCA(name)
			secret := playground.NewSecret(namespace, "placeholder"+name, ca)
			shared.create(t, secret)
			crd := playground.NewCRD("placeholder"+name, playground.FromSecret(namespace, secret.Name))
			crd.Spec.Conversion.Webhook.ClientConfig.CABundle = []byte("\n")
			manifest := manifestOf(t, cabundle.CustomResourceDefinition, crd)
			t.Cleanup(func() { _ = shared.client.Delete(context.WithoutCancel(t.Context()), crd) })
			apply := func() string {
				output, err := shared.control.Kubectl(t.Context(), manifest, append([]string{"apply", "-f", "-"}, flags...)...)
				if err != nil {
					t.Fatal(err)
				}
				return output.Stderr
			}
			apply()
			shared.filled(t, crd, ca)
			apply()
			shared.filled(t, crd, ca)

			// And with the source gone, what was there stays.
			if err := shared.client.Delete(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			if warning := apply(); !strings.Contains(warning, "does not exist") {
				t.Errorf("kubectl printed %q", warning)
			}
			shared.filled(t, crd, ca)
		})
	}
}

func manifestOf(t *testing.T, kind cabundle.Kind, object client.Object) string {
	t.Helper()
	object.GetObjectKind().SetGroupVersionKind(kind.GroupVersionKind())
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestManyObjectsAtTheSameTime(t *testing.T) {
	t.Parallel()
	const sources, perSource = 5, 8
	for s := range sources {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("many%d", s)
			one, two := playground.NewCA(name), playground.NewCA(name+" again")
			var objects []client.Object
			for n := range perSource {
				for kind := range kinds {
					objects = append(objects, kinds[kind](fmt.Sprintf("many%d%c%s", s, 'a'+n, strings.ToLower(string(kind))), playground.FromSecret(namespace, name)))
				}
			}
			// The first half is there before the source is.
			shared.create(t, objects[:len(objects)/2]...)
			secret := playground.NewSecret(namespace, name, one)
			shared.create(t, secret)
			shared.create(t, objects[len(objects)/2:]...)
			for _, object := range objects {
				shared.filled(t, object, one)
			}
			secret.Data["ca.crt"] = two
			if err := shared.client.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			for _, object := range objects {
				shared.filled(t, object, one, two)
			}
		})
	}
}

func TestAnEditOfTheCABundleIsPutRight(t *testing.T) {
	t.Parallel()
	ca, other := playground.NewCA("edit"), playground.NewCA("other")
	shared.create(t, playground.NewSecret(namespace, "edit", ca))
	eachKind(t, "edit", func(t *testing.T, kind cabundle.Kind, name string) {
		object := kinds[kind](name, playground.FromSecret(namespace, "edit"))
		shared.create(t, object)
		shared.filled(t, object, ca)
		if !kind.Admitted() {
			shared.published(t, "edit")
		}
		shared.edit(t, object, other)
		shared.filled(t, object, other, ca)
		want := [][]byte{other, ca} // of an update that empties it, the old object's certificates first
		if !shared.atOnce(t, kind) {
			want = [][]byte{ca} // what nobody but the object has known is lost
		}
		for _, value := range [][]byte{[]byte("\n"), nil} {
			shared.edit(t, object, value)
			shared.filled(t, object, want...)
		}
	})
}

func TestALargeCRDIsFilled(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("large")
	shared.create(t, playground.NewSecret(namespace, "large", ca))
	crd := playground.NewCRD("large", playground.FromSecret(namespace, "large"))
	properties := map[string]apiextensionsv1.JSONSchemaProps{}
	for n := range 400 {
		properties[fmt.Sprintf("p%d", n)] = apiextensionsv1.JSONSchemaProps{Type: "string", Description: strings.Repeat("x", 1500)}
	}
	for v := range crd.Spec.Versions {
		crd.Spec.Versions[v].Schema.OpenAPIV3Schema.Properties = properties
	}
	shared.create(t, crd)
	if err := playground.Holds(crd, ca); err != nil {
		t.Error("in the answer to the create:", err)
	}
	// An update sends it twice.
	shared.edit(t, crd, []byte("\n"))
	if err := playground.Holds(crd, ca); err != nil {
		t.Error("in the answer to the update:", err)
	}
}
