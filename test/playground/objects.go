package playground

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// NewClient returns a client that knows the four target kinds, and does not limit itself.
func NewClient(config *rest.Config) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	config = rest.CopyConfig(config)
	config.QPS = -1
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

// NewCA returns a CA certificate in PEM that is valid for a while around now.
func NewCA(name string) []byte {
	return cabundletest.CA(name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

// NewSecret returns a Secret that allows injection of ca.
func NewSecret(namespace, name string, ca []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   namespace,
			Name:        name,
			Annotations: map[string]string{cabundle.AllowDirectInjectionAnnotation: "true"},
		},
		Data: map[string][]byte{"ca.crt": ca},
	}
}

// FromSecret is the annotation that names a Secret.
func FromSecret(namespace, name string) map[string]string {
	return map[string]string{cabundle.InjectCAFromSecretAnnotation: namespace + "/" + name}
}

// NewCRD returns a CRD with a conversion webhook; name is its plural, and the first part of its group.
func NewCRD(name string, annotations map[string]string) *apiextensionsv1.CustomResourceDefinition {
	group := name + ".example.com"
	preserve := true
	version := func(name string, storage bool) apiextensionsv1.CustomResourceDefinitionVersion {
		return apiextensionsv1.CustomResourceDefinitionVersion{
			Name: name, Served: true, Storage: storage,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
				Type: "object", XPreserveUnknownFields: &preserve,
			}},
		}
	}
	path := "/convert"
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: name + "." + group, Annotations: annotations},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: name, Singular: name + "x", Kind: "K" + name, ListKind: "K" + name + "List",
			},
			Scope:    apiextensionsv1.ClusterScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version("v1", true), version("v1beta1", false)},
			Conversion: &apiextensionsv1.CustomResourceConversion{
				Strategy: apiextensionsv1.WebhookConverter,
				Webhook: &apiextensionsv1.WebhookConversion{
					ConversionReviewVersions: []string{"v1"},
					ClientConfig: &apiextensionsv1.WebhookClientConfig{
						Service: &apiextensionsv1.ServiceReference{Namespace: "default", Name: "webhook", Path: &path},
					},
				},
			},
		},
	}
}

// NewAPIService returns an APIService; name is the first part of its group.
func NewAPIService(name string, annotations map[string]string) *apiregistrationv1.APIService {
	group := name + ".example.com"
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1." + group, Annotations: annotations},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: group, Version: "v1", GroupPriorityMinimum: 1000, VersionPriority: 10,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "webhook"},
		},
	}
}

// NewValidating returns a ValidatingWebhookConfiguration with n webhooks that match nothing that exists.
func NewValidating(name string, n int, annotations map[string]string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
	for i := range n {
		webhook := admissionregistrationv1.ValidatingWebhook{Name: fmt.Sprintf("w%d.%s.example.com", i, name)}
		webhook.ClientConfig, webhook.Rules, webhook.SideEffects, webhook.AdmissionReviewVersions = webhookParts()
		c.Webhooks = append(c.Webhooks, webhook)
	}
	return c
}

// NewMutating returns a MutatingWebhookConfiguration with n webhooks that match nothing that exists.
func NewMutating(name string, n int, annotations map[string]string) *admissionregistrationv1.MutatingWebhookConfiguration {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
	for i := range n {
		webhook := admissionregistrationv1.MutatingWebhook{Name: fmt.Sprintf("w%d.%s.example.com", i, name)}
		webhook.ClientConfig, webhook.Rules, webhook.SideEffects, webhook.AdmissionReviewVersions = webhookParts()
		c.Webhooks = append(c.Webhooks, webhook)
	}
	return c
}

func webhookParts() (admissionregistrationv1.WebhookClientConfig, []admissionregistrationv1.RuleWithOperations, *admissionregistrationv1.SideEffectClass, []string) {
	none := admissionregistrationv1.SideEffectClassNone
	return admissionregistrationv1.WebhookClientConfig{
			Service: &admissionregistrationv1.ServiceReference{Namespace: "default", Name: "webhook"},
		}, []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule: admissionregistrationv1.Rule{
				APIGroups: []string{"nothing.example.com"}, APIVersions: []string{"v1"}, Resources: []string{"nothings"},
			},
		}}, &none, []string{"v1"}
}

// CABundles returns what the caBundle fields of a target hold, in order.
func CABundles(object client.Object) [][]byte {
	var bundles [][]byte
	switch o := object.(type) {
	case *apiextensionsv1.CustomResourceDefinition:
		if c := o.Spec.Conversion; c != nil && c.Webhook != nil && c.Webhook.ClientConfig != nil {
			bundles = append(bundles, c.Webhook.ClientConfig.CABundle)
		}
	case *apiregistrationv1.APIService:
		bundles = append(bundles, o.Spec.CABundle)
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for _, w := range o.Webhooks {
			bundles = append(bundles, w.ClientConfig.CABundle)
		}
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for _, w := range o.Webhooks {
			bundles = append(bundles, w.ClientConfig.CABundle)
		}
	}
	return bundles
}

// SetCABundles puts value into each caBundle field of a target.
func SetCABundles(object client.Object, value []byte) {
	values := make([][]byte, len(CABundles(object)))
	for i := range values {
		values[i] = value
	}
	SetEachCABundle(object, values)
}

// SetEachCABundle puts values into the caBundle fields of a target, in order.
func SetEachCABundle(object client.Object, values [][]byte) {
	for i, value := range values {
		switch o := object.(type) {
		case *apiextensionsv1.CustomResourceDefinition:
			o.Spec.Conversion.Webhook.ClientConfig.CABundle = value
		case *apiregistrationv1.APIService:
			o.Spec.CABundle = value
		case *admissionregistrationv1.ValidatingWebhookConfiguration:
			o.Webhooks[i].ClientConfig.CABundle = value
		case *admissionregistrationv1.MutatingWebhookConfiguration:
			o.Webhooks[i].ClientConfig.CABundle = value
		}
	}
}

// HoldsNone reports whether no caBundle of object has a certificate in it.
func HoldsNone(object client.Object) bool {
	return !slices.ContainsFunc(CABundles(object), func(value []byte) bool { return !cabundle.ParseExisting(value).Empty() })
}

// Holds returns an error unless each caBundle of object, as just read, is want.
func Holds(object client.Object, want ...[]byte) error {
	bundles := CABundles(object)
	if len(bundles) == 0 {
		return fmt.Errorf("%s has no place for a caBundle", object.GetName())
	}
	for n, got := range bundles {
		if !bytes.Equal(got, bytes.Join(want, nil)) {
			return fmt.Errorf("caBundle %d of %s has %d certificates, not the %d wanted: %q", n, object.GetName(), bytes.Count(got, []byte("BEGIN")), len(want), got)
		}
	}
	return nil
}

// EventsOn returns the Events on object: those of its UID, if it is known.
func EventsOn(ctx context.Context, c client.Client, object client.Object) (found []corev1.Event, err error) {
	var all corev1.EventList
	if err := c.List(ctx, &all); err != nil {
		return nil, err
	}
	for _, event := range all.Items {
		if on := event.InvolvedObject; on.Name == object.GetName() && (object.GetUID() == "" || on.UID == object.GetUID()) {
			found = append(found, event)
		}
	}
	return found, nil
}

// Published returns what admission policies read of each source, the bundle first and then those that it replaces, in base64.
func Published(ctx context.Context, c client.Client) (map[string][]string, error) {
	published, err := Shards(ctx, c)
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, shard := range published {
		for source, words := range shard.Template.Spec.Volumes[0].CSI.VolumeAttributes {
			all[source] = append(all[source], strings.Split(words, " ")...)
		}
	}
	return all, nil
}
