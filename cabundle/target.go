package cabundle

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is one of the four kinds that carry a caBundle.
type Kind string

// The four kinds. All are cluster-scoped.
const (
	MutatingWebhookConfiguration   Kind = "MutatingWebhookConfiguration"
	ValidatingWebhookConfiguration Kind = "ValidatingWebhookConfiguration"
	CustomResourceDefinition       Kind = "CustomResourceDefinition"
	APIService                     Kind = "APIService"
)

var resources = map[Kind]schema.GroupVersionResource{
	MutatingWebhookConfiguration:   {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
	ValidatingWebhookConfiguration: {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	CustomResourceDefinition:       {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	APIService:                     {Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
}

// Kinds returns the four kinds, webhook configurations first.
func Kinds() []Kind {
	return []Kind{MutatingWebhookConfiguration, ValidatingWebhookConfiguration, CustomResourceDefinition, APIService}
}

// Resource returns the group, version and plural name that the API server serves k under.
func (k Kind) Resource() schema.GroupVersionResource { return resources[k] }

// GroupVersionKind returns k with its group and version.
func (k Kind) GroupVersionKind() schema.GroupVersionKind {
	return resources[k].GroupVersion().WithKind(string(k))
}

// FilledAtAdmission reports that the API server calls admission webhooks for objects of k. It exempts webhook
// configurations, lest one could lock out everybody (k8s.io/apiserver, IsExemptAdmissionConfigurationResource).
func (k Kind) FilledAtAdmission() bool {
	return k == CustomResourceDefinition || k == APIService
}

// KindOf returns the Kind of an object that the API server describes by group and kind, in any version; ok is false
// if it is none of the four.
func KindOf(group, kind string) (k Kind, ok bool) {
	resource, ok := resources[Kind(kind)]
	return Kind(kind), ok && resource.Group == group
}

// Target names one object that carries a caBundle. It is comparable.
type Target struct {
	Kind Kind
	Name string
}

// String returns kind and name, as messages give it.
func (t Target) String() string { return string(t.Kind) + " " + t.Name }
