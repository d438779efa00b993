package playground

import (
	"context"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
)

// The verbs of the chart's mutating policies, as their names have them.
const (
	Fill = "fill"
	Keep = "keep"
)

// PolicyKinds returns the kinds for which the cluster has the chart's policies of that verb. It has none if the API server serves no
// MutatingAdmissionPolicy v1.
func PolicyKinds(ctx context.Context, c client.Client, verb string) ([]cabundle.Kind, error) {
	var policies admissionregistrationv1.MutatingAdmissionPolicyList
	switch err := c.List(ctx, &policies); {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err): // the client may have known another version
		return nil, nil
	case err != nil:
		return nil, err
	}
	var kinds []cabundle.Kind
	for _, kind := range cabundle.Kinds() {
		of := func(policy admissionregistrationv1.MutatingAdmissionPolicy) bool {
			return strings.HasPrefix(policy.Name, "caject-"+verb+"-") &&
				slices.ContainsFunc(policy.Spec.MatchConstraints.ResourceRules, func(rule admissionregistrationv1.NamedRuleWithOperations) bool {
					return slices.Contains(rule.Resources, kind.Resource().Resource)
				})
		}
		if slices.ContainsFunc(policies.Items, of) {
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// ServesPolicies reports whether an API server serves MutatingAdmissionPolicy v1, by what it says of itself.
func ServesPolicies(config *rest.Config) (bool, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return false, err
	}
	served, err := client.ServerResourcesForGroupVersion(admissionregistrationv1.SchemeGroupVersion.String())
	if err != nil {
		return false, err
	}
	for _, resource := range served.APIResources {
		if resource.Kind == "MutatingAdmissionPolicy" {
			return true, nil
		}
	}
	return false, nil
}
