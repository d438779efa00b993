// Package v1alpha1 is the API group caject.io: the bundles that caject publishes. The CRD in the chart is generated from
// it (make generate).
//
// +kubebuilder:object:generate=true
// +groupName=caject.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is that of CABundle.
var GroupVersion = schema.GroupVersion{Group: "caject.io", Version: "v1alpha1"}

// CABundle shows what caject knows of one source that targets name: public certificates, for people to look at. Nothing is
// read back from it. caject makes, changes and removes it; the API server refuses changes by anybody else.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=cabundles,singular=cabundle
// +kubebuilder:validation:XValidation:rule="size(self.spec.source) > 253 || self.metadata.name == self.spec.source.replace('/', '.')",message="the name must be that of the source, with dots for slashes"
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Targets",type=integer,JSONPath=`.status.targets`
// +kubebuilder:printcolumn:name="Injected",type=integer,JSONPath=`.status.injected`,priority=1
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type CABundle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   CABundleSpec   `json:"spec"`
	Status CABundleStatus `json:"status,omitempty"`
}

// CABundleSpec says what a CABundle is about.
type CABundleSpec struct {
	// Source is secret/NAMESPACE/NAME, certificate/NAMESPACE/NAME or apiserver.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=600
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="source cannot be changed"
	Source string `json:"source"`
}

// Ready is the condition that says whether the source can be injected; its reason is one of caject's (in
// docs/troubleshooting.md), or Published.
const Ready = "Ready"

// CABundleStatus is for people, and for kubectl wait.
type CABundleStatus struct {
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Targets is how many objects name the source.
	//
	// +optional
	Targets int32 `json:"targets"`
	// Injected is how many of them hold its certificates.
	//
	// +optional
	Injected int32 `json:"injected"`
	// Expires is when the first certificate of the source expires.
	//
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
	// CABundle is the PEM of the certificates that targets get, in base64: those of the source, and those that it held before and
	// that have not expired. Absent while there is none.
	//
	// +kubebuilder:validation:Format=byte
	// +optional
	CABundle string `json:"caBundle,omitempty"`
	// Certificates are those in caBundle.
	//
	// +listType=atomic
	// +optional
	Certificates []Certificate `json:"certificates,omitempty"`
}

// Certificate is one of a CABundle.
type Certificate struct {
	// Subject is its distinguished name (RFC 2253).
	Subject string `json:"subject"`
	// Fingerprint is the SHA-256 of its DER, in hex.
	Fingerprint string `json:"fingerprint"`
	// NotAfter is when it expires.
	NotAfter metav1.Time `json:"notAfter"`
	// LastSeen is when the source was first seen not to hold it any more; absent while it does.
	//
	// +optional
	LastSeen *metav1.Time `json:"lastSeen,omitempty"`
}

// CABundleList is a list of them.
//
// +kubebuilder:object:root=true
type CABundleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CABundle `json:"items"`
}

// AddToScheme adds the types to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &CABundle{}, &CABundleList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
