package cabundle

import (
	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is one of the four kinds that carry a caBundle. All are cluster-scoped.
type Kind string

// The four kinds.
const (
	MutatingWebhookConfiguration   Kind = "MutatingWebhookConfiguration"
	ValidatingWebhookConfiguration Kind = "ValidatingWebhookConfiguration"
	CustomResourceDefinition       Kind = "CustomResourceDefinition"
	APIService                     Kind = "APIService"
)

// row is all that sets one kind apart from the others. A kind more is a row more.
type row struct {
	kind     Kind
	resource schema.GroupVersionResource
	// part is the part of the object that all paths of the row lead into. Nothing else is decoded: CRDs reach megabytes.
	part string
	// caBundle is the path to the caBundles. [] stands for each item of a list.
	caBundle string
	// itemName is the field that names an item of that list: an item that moves keeps its caBundle.
	itemName string
	// needs must all be met by an object that is to take a caBundle.
	needs []need
	// none says why an object without a place for a caBundle cannot take one, although it meets the needs.
	none string
	// admitted is true if the API server calls admission webhooks for the kind. It exempts webhook configurations, lest one could
	// lock out everybody (k8s.io/apiserver, IsExemptAdmissionConfigurationResource).
	admitted bool
}

// need is a condition on what stands at path; words say why an object that does not meet it cannot take a caBundle.
type need struct {
	path  string
	met   func(gjson.Result) bool
	words string
}

func isWebhook(value gjson.Result) bool { return value.String() == "Webhook" }
func isNotTrue(value gjson.Result) bool { return !value.Bool() }

// rows are the four kinds, webhook configurations first.
var rows = []row{
	{
		kind:     MutatingWebhookConfiguration,
		resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
		part:     "webhooks",
		caBundle: "webhooks[].clientConfig.caBundle", // those with clientConfig.url, too
		itemName: "name",
		none:     "it has no webhooks",
	},
	{
		kind:     ValidatingWebhookConfiguration,
		resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
		part:     "webhooks",
		caBundle: "webhooks[].clientConfig.caBundle",
		itemName: "name",
		none:     "it has no webhooks",
	},
	{
		kind:     CustomResourceDefinition,
		resource: schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		part:     "spec.conversion",
		caBundle: "spec.conversion.webhook.clientConfig.caBundle",
		needs:    []need{{"spec.conversion.strategy", isWebhook, "its conversion strategy is not Webhook"}},
		none:     "its conversion webhook has no clientConfig",
		admitted: true,
	},
	{
		kind:     APIService,
		resource: schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
		part:     "spec",
		caBundle: "spec.caBundle",
		needs: []need{ // without them the API server refuses a caBundle
			{"spec.service", gjson.Result.IsObject, "it has no service"},
			{"spec.insecureSkipTLSVerify", isNotTrue, "it has insecureSkipTLSVerify"},
		},
		admitted: true,
	},
}

// row returns the row of k; it is empty for a kind that carries no caBundle.
func (k Kind) row() *row {
	for i := range rows {
		if rows[i].kind == k {
			return &rows[i]
		}
	}
	return &row{}
}

// Kinds returns the four kinds, webhook configurations first.
func Kinds() []Kind {
	kinds := make([]Kind, len(rows))
	for i := range rows {
		kinds[i] = rows[i].kind
	}
	return kinds
}

// KindOf returns the Kind of an object that the API server describes by group and kind, in any version; ok is false
// if it is none of the four.
func KindOf(group, kind string) (k Kind, ok bool) {
	row := Kind(kind).row()
	return Kind(kind), row.kind != "" && row.resource.Group == group
}

// Resource returns the group, version and plural name that the API server serves k under.
func (k Kind) Resource() schema.GroupVersionResource { return k.row().resource }

// GroupVersionKind returns k with its group and version.
func (k Kind) GroupVersionKind() schema.GroupVersionKind {
	return k.Resource().GroupVersion().WithKind(string(k))
}

// Admitted reports whether the API server calls admission webhooks for objects of k.
func (k Kind) Admitted() bool { return k.row().admitted }

// Conditional reports whether it depends on the object whether it has a place for a caBundle: a CRD may have no conversion webhook.
func (k Kind) Conditional() bool { return len(k.row().needs) > 0 }

// Target names one object that carries a caBundle. It is comparable.
type Target struct {
	Kind Kind
	Name string
}

// String returns kind and name, as messages give it.
func (t Target) String() string { return string(t.Kind) + " " + t.Name }
