package cabundle

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// The objects below are the API's own types, so that a field's path cannot be wrong.

func crd(strategy apiextensionsv1.ConversionStrategyType, webhook *apiextensionsv1.WebhookConversion) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: meta("crd"),
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Versions:   []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true}},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: strategy, Webhook: webhook},
		},
	}
}

func crdWith(caBundle []byte) *apiextensionsv1.CustomResourceDefinition {
	return crd(apiextensionsv1.WebhookConverter, &apiextensionsv1.WebhookConversion{
		ClientConfig: &apiextensionsv1.WebhookClientConfig{CABundle: caBundle},
	})
}

func apiService(spec apiregistrationv1.APIServiceSpec) *apiregistrationv1.APIService {
	return &apiregistrationv1.APIService{ObjectMeta: meta("apiservice"), Spec: spec}
}

func validating(caBundles ...[]byte) *admissionregistrationv1.ValidatingWebhookConfiguration {
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: meta("validating")}
	for i, caBundle := range caBundles {
		c.Webhooks = append(c.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name:         string(rune('a'+i)) + ".example.com",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: caBundle},
		})
	}
	return c
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, UID: "uid-" + "1", ResourceVersion: "7", Generation: 3,
		Annotations: map[string]string{
			InjectCAFromAnnotation: "ns/name",
			"other":                "value",
			"kubectl.kubernetes.io/last-applied-configuration": `{"metadata":{"annotations":{"cert-manager.io/inject-ca-from-secret":"no/no"}}}`,
		},
	}
}

func parse(t testing.TB, kind Kind, object any) Object {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return ParseObject(kind, raw)
}

func TestParseObjectReadsMetadata(t *testing.T) {
	object := crdWith(nil)
	got := parse(t, CustomResourceDefinition, object)
	want := Object{
		Target: Target{Kind: CustomResourceDefinition, Name: "crd"}, UID: "uid-1", ResourceVersion: "7", Generation: 3,
		Annotations: map[string]string{InjectCAFromAnnotation: "ns/name"},
		Fields:      []Field{{Path: "/spec/conversion/webhook/clientConfig/caBundle"}},
		Size:        got.Size,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if raw, _ := json.Marshal(object); got.Size != len(raw) {
		t.Errorf("size is %d, not %d", got.Size, len(raw))
	}
	deletion := metav1.Now()
	object.DeletionTimestamp = &deletion
	if !parse(t, CustomResourceDefinition, object).Deleting {
		t.Error("a deletionTimestamp is not seen")
	}
}

func TestFieldsOfTheFourKinds(t *testing.T) {
	insecure := apiregistrationv1.APIServiceSpec{Service: &apiregistrationv1.ServiceReference{}, InsecureSkipTLSVerify: true}
	url := "https://example.com"
	tests := map[string]struct {
		kind          Kind
		object        any
		want          []Field
		notInjectable string
	}{
		"a CRD": {CustomResourceDefinition, crdWith([]byte("x")), []Field{{Path: "/spec/conversion/webhook/clientConfig/caBundle", CABundle: []byte("x")}}, ""},
		"a CRD with strategy None": {CustomResourceDefinition,
			crd(apiextensionsv1.NoneConverter, nil), nil, "its conversion strategy is not Webhook"},
		"a CRD with strategy None and a leftover webhook": {CustomResourceDefinition,
			crd(apiextensionsv1.NoneConverter, &apiextensionsv1.WebhookConversion{ClientConfig: &apiextensionsv1.WebhookClientConfig{}}), nil, "its conversion strategy is not Webhook"},
		"a CRD without conversion":   {CustomResourceDefinition, &apiextensionsv1.CustomResourceDefinition{}, nil, "its conversion strategy is not Webhook"},
		"a CRD without webhook":      {CustomResourceDefinition, crd(apiextensionsv1.WebhookConverter, nil), nil, "its conversion webhook has no clientConfig"},
		"a CRD without clientConfig": {CustomResourceDefinition, crd(apiextensionsv1.WebhookConverter, &apiextensionsv1.WebhookConversion{}), nil, "its conversion webhook has no clientConfig"},
		"an APIService": {APIService, apiService(apiregistrationv1.APIServiceSpec{Service: &apiregistrationv1.ServiceReference{}, CABundle: []byte("x")}),
			[]Field{{Path: "/spec/caBundle", CABundle: []byte("x")}}, ""},
		"an APIService that says which Service": {APIService, apiService(apiregistrationv1.APIServiceSpec{Service: &apiregistrationv1.ServiceReference{Namespace: "ns", Name: "svc"}}),
			[]Field{{Path: "/spec/caBundle", Service: "ns/svc"}}, ""},
		"an APIService that skips verification": {APIService, apiService(insecure), nil, "it has insecureSkipTLSVerify"},
		"a local APIService":                    {APIService, apiService(apiregistrationv1.APIServiceSpec{}), nil, "it has no service"},
		"every webhook of a configuration": {ValidatingWebhookConfiguration, validating(nil, []byte("x")), []Field{
			{Path: "/webhooks/0/clientConfig/caBundle", Webhook: "a.example.com"},
			{Path: "/webhooks/1/clientConfig/caBundle", Webhook: "b.example.com", CABundle: []byte("x")},
		}, ""},
		"a webhook with a URL": {MutatingWebhookConfiguration,
			&admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name: "a", ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url},
			}}},
			[]Field{{Path: "/webhooks/0/clientConfig/caBundle", Webhook: "a"}}, ""},
		"a webhook with a Service": {MutatingWebhookConfiguration,
			&admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name: "a", ClientConfig: admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: "ns", Name: "svc"}},
			}}},
			[]Field{{Path: "/webhooks/0/clientConfig/caBundle", Webhook: "a", Service: "ns/svc"}}, ""},
		"a configuration without webhooks": {ValidatingWebhookConfiguration, validating(), nil, "it has no webhooks"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			got := parse(t, test.kind, test.object)
			if diff := cmp.Diff(test.want, got.Fields); diff != "" {
				t.Error(diff)
			}
			if got.NotInjectable != test.notInjectable {
				t.Errorf("not injectable: %q", got.NotInjectable)
			}
			if problem := got.NotInjectableProblem(); (problem != nil) != (test.notInjectable != "") {
				t.Errorf("problem is %v", problem)
			}
		})
	}
}

func TestParseObjectSurvivesAnything(t *testing.T) {
	for _, raw := range []string{
		``, `null`, `[]`, `""`, `1`, `{}`, `{"metadata":null}`, `{"metadata":[],"spec":1}`, `{"metadata":{"annotations":[]}}`,
		`{"metadata":{"annotations":{"cert-manager.io/inject-ca-from":1}}}`,
		`{"webhooks":{}}`, `{"webhooks":[1,null,{"clientConfig":1},{"clientConfig":{"caBundle":{}}}]}`,
		`{"spec":{"conversion":{"strategy":"Webhook","webhook":{"clientConfig":{"caBundle":"!"}}}}}`,
	} {
		for _, kind := range Kinds() {
			object := ParseObject(kind, []byte(raw))
			for _, field := range object.Fields {
				if field.CABundle != nil {
					t.Errorf("%s of %s has caBundle %q", kind, raw, field.CABundle)
				}
			}
		}
	}
}

func TestKindOf(t *testing.T) {
	for _, kind := range Kinds() {
		gvk := kind.GroupVersionKind()
		if got, ok := KindOf(gvk.Group, gvk.Kind); !ok || got != kind {
			t.Errorf("%v is %v, %v", gvk, got, ok)
		}
		if !strings.HasSuffix(kind.Resource().Resource, "s") {
			t.Errorf("%s has resource %v", kind, kind.Resource())
		}
	}
	if _, ok := KindOf("example.com", "APIService"); ok {
		t.Error("a kind of another group is taken for ours")
	}
	if _, ok := KindOf("", "Secret"); ok {
		t.Error("a Secret is taken for a target")
	}
}
