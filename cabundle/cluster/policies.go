package cluster

import (
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
)

// policyVersions are those of MutatingAdmissionPolicy that the chart has, the first one that is served counts.
var policyVersions = []string{"v1", "v1beta1"}

// PolicyVersion asks the API server in which version it serves MutatingAdmissionPolicies, of those that the chart has. It is empty if
// in none. Whoever is authenticated may ask.
func PolicyVersion(d discovery.ServerResourcesInterface) (string, error) {
	for _, version := range policyVersions {
		switch list, err := d.ServerResourcesForGroupVersion("admissionregistration.k8s.io/" + version); {
		case apierrors.IsNotFound(err): // no such version
		case err != nil:
			return "", err
		case hasPolicies(list):
			return version, nil
		}
	}
	return "", nil
}

func hasPolicies(list *metav1.APIResourceList) bool {
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "mutatingadmissionpolicies" })
}
