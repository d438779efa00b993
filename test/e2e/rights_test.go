package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/caject/caject/test/playground"
)

// TestRights asks the API server what the chart's ServiceAccount may do.
func TestRights(t *testing.T) {
	t.Parallel()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		attributes authorizationv1.ResourceAttributes
		allowed    bool
	}{
		"get a Secret":                {authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets", Namespace: "kube-system", Name: "x"}, true},
		"list Secrets":                {authorizationv1.ResourceAttributes{Verb: "list", Resource: "secrets"}, false},
		"list Secrets of its own":     {authorizationv1.ResourceAttributes{Verb: "list", Resource: "secrets", Namespace: playground.Namespace}, false},
		"watch Secrets":               {authorizationv1.ResourceAttributes{Verb: "watch", Resource: "secrets"}, false},
		"change a Secret":             {authorizationv1.ResourceAttributes{Verb: "update", Resource: "secrets", Namespace: "kube-system", Name: "x"}, false},
		"change one beside its own":   {authorizationv1.ResourceAttributes{Verb: "patch", Resource: "secrets", Namespace: playground.Namespace, Name: "x"}, false},
		"create a Secret":             {authorizationv1.ResourceAttributes{Verb: "create", Resource: "secrets", Namespace: playground.Namespace}, false},
		"change its CA Secret":        {authorizationv1.ResourceAttributes{Verb: "update", Resource: "secrets", Namespace: playground.Namespace, Name: "caject-ca"}, true},
		"delete its CA Secret":        {authorizationv1.ResourceAttributes{Verb: "delete", Resource: "secrets", Namespace: playground.Namespace, Name: "caject-ca"}, false},
		"read ConfigMaps":             {authorizationv1.ResourceAttributes{Verb: "get", Resource: "configmaps", Namespace: "kube-system", Name: "x"}, false},
		"get a Certificate":           {authorizationv1.ResourceAttributes{Verb: "get", Group: "cert-manager.io", Resource: "certificates", Namespace: "x", Name: "x"}, true},
		"list Certificates":           {authorizationv1.ResourceAttributes{Verb: "list", Group: "cert-manager.io", Resource: "certificates"}, false},
		"patch a CRD":                 {authorizationv1.ResourceAttributes{Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: "x"}, true},
		"create a CRD":                {authorizationv1.ResourceAttributes{Verb: "create", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}, false},
		"delete a CRD":                {authorizationv1.ResourceAttributes{Verb: "delete", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: "x"}, false},
		"create a configuration":      {authorizationv1.ResourceAttributes{Verb: "create", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"}, false},
		"create an Event on a target": {authorizationv1.ResourceAttributes{Verb: "create", Resource: "events", Namespace: "default"}, true},
		"create an Event elsewhere":   {authorizationv1.ResourceAttributes{Verb: "create", Resource: "events", Namespace: "kube-system"}, false},
		"anything with its own role":  {authorizationv1.ResourceAttributes{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: "caject"}, false},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &test.attributes}}
			if err := shared.client.Create(t.Context(), review); err != nil { // as the admin, to see that the review works
				t.Fatal(err)
			} else if !review.Status.Allowed {
				t.Fatal("not even the admin may")
			}
			got, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{Spec: review.Spec}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Status.Allowed != test.allowed {
				t.Errorf("allowed: %v", got.Status.Allowed)
			}
		})
	}
}

// TestRoles compares all that the chart's roles allow with what they should: whoever widens one has to say so here, and in
// docs/security.md.
func TestRoles(t *testing.T) {
	t.Parallel()
	sources := []string{
		"everywhere: cert-manager.io/certificates: get",
		"everywhere: secrets: get",
	}
	const targetVerbs = "get,list,patch,watch"
	targets := []string{
		"everywhere: admissionregistration.k8s.io/mutatingwebhookconfigurations: " + targetVerbs,
		"everywhere: admissionregistration.k8s.io/validatingwebhookconfigurations: " + targetVerbs,
		"everywhere: apiextensions.k8s.io/customresourcedefinitions: " + targetVerbs,
		"everywhere: apiregistration.k8s.io/apiservices: " + targetVerbs,
	}
	published := []string{
		"everywhere: caject.io/cabundles: create,delete,get,list,watch",
		"everywhere: caject.io/cabundles/status: update",
		"everywhere: namespaces kube-system: get",
		"for viewers: caject.io/cabundles: get,list,watch",
		"in ns: podtemplates: create,delete,get,list,update,watch",
	}
	own := []string{
		"in default: events: create,patch",
		"in ns: coordination.k8s.io/leases release-caject: delete,get,update",
		"in ns: coordination.k8s.io/leases: create",
		"in ns: events: create,patch",
		"in ns: secrets release-caject-ca: create,get,patch,update",
	}
	tests := map[string]struct {
		values []string
		rights []string
	}{
		"by default": {nil, slices.Concat(sources, targets, published, own)},
		"two namespaces of sources": {[]string{"sources.namespaces={a,b}"}, slices.Concat(targets, published, own, []string{
			"in a: cert-manager.io/certificates: get", "in a: secrets: get",
			"in b: cert-manager.io/certificates: get", "in b: secrets: get",
		})},
		"no Certificates, one namespace": {[]string{"sources.namespaces={a}", "sources.certificates=false"},
			slices.Concat(targets, published, own, []string{"in a: secrets: get"})},
		"single sources, by name": {[]string{"sources.names={a/x,a/y,b/z}", "sources.certificateNames={b/c}"}, slices.Concat(targets, published, own, []string{
			"in a: secrets x: get", "in a: secrets y: get", "in b: secrets z: get", "in b: cert-manager.io/certificates c: get",
		})},
		"no sources": {[]string{"sources.access=names"}, slices.Concat(targets, published, own)},
		"no Events in default, and nothing for viewers": {[]string{"rbac.eventsInDefault=false", "rbac.aggregateToView=false"},
			slices.DeleteFunc(slices.Concat(sources, targets, published, own), func(right string) bool {
				return strings.HasPrefix(right, "in default") || strings.HasPrefix(right, "for viewers")
			})},
		"no roles": {[]string{"rbac.create=false"}, nil},
		"ignored namespaces, which a role cannot exclude": {[]string{"sources.ignoredNamespaces={a}"},
			slices.Concat(sources, targets, published, own)},
		"the least": {
			[]string{
				"sources.namespaces={a}", "sources.certificates=false", "cabundles.enabled=false", "hints.enabled=false",
				"targets.validatingwebhookconfigurations=false", "targets.mutatingwebhookconfigurations=false", "targets.apiservices=false",
			},
			slices.Concat(own, []string{targets[0], targets[2], "in a: secrets: get"}),
		},
		"metrics for some": {[]string{"metrics.secure=true"}, slices.Concat(sources, targets, published, own, []string{
			"everywhere: authentication.k8s.io/tokenreviews: create",
			"everywhere: authorization.k8s.io/subjectaccessreviews: create",
			"for scrapers: /metrics: get",
			"in ns: secrets release-caject-metrics-ca: create,get,patch,update",
		})},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			rendered, err := helmTemplate(t, sets(test.values)...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := playground.Rights(rendered)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(test.rights)
			if diff := cmp.Diff(test.rights, got); diff != "" {
				t.Errorf("missing (-), and too much (+):\n%s", diff)
			}
		})
	}
}

// TestCajectMayReadLessThanCainjector compares what both charts ask for, as docs/security.md says.
func TestCajectMayReadLessThanCainjector(t *testing.T) {
	t.Parallel()
	rendered, err := shared.control.RenderCertManager(t.Context(), []string{"cainjector-rbac"})
	if err != nil {
		t.Fatal(err)
	}
	cainjector, err := playground.Rights(rendered)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err = helmTemplate(t)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := playground.Rights(rendered)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("cainjector:\n%s\ncaject:\n%s", strings.Join(cainjector, "\n"), strings.Join(ours, "\n"))
	for _, resource := range []string{
		"secrets", "events", "cert-manager.io/certificates",
		"admissionregistration.k8s.io/mutatingwebhookconfigurations", "admissionregistration.k8s.io/validatingwebhookconfigurations",
		"apiextensions.k8s.io/customresourcedefinitions", "apiregistration.k8s.io/apiservices",
	} {
		theirVerbs, ourVerbs := everywhere(cainjector, resource), everywhere(ours, resource)
		if len(theirVerbs) == 0 {
			t.Errorf("cainjector has no right to %s: this test does not show what it should", resource)
		}
		for _, verb := range ourVerbs {
			if !slices.Contains(theirVerbs, verb) {
				t.Errorf("caject may %s %s, and cainjector may not", verb, resource)
			}
		}
		if len(ourVerbs) >= len(theirVerbs) {
			t.Errorf("%s: caject may %v, cainjector %v", resource, ourVerbs, theirVerbs)
		}
	}
}

// everywhere returns the verbs that rights allow on a resource in all namespaces.
func everywhere(rights []string, resource string) []string {
	for _, line := range rights {
		if verbs, ok := strings.CutPrefix(line, "everywhere: "+resource+": "); ok {
			return strings.Split(verbs, ",")
		}
	}
	return nil
}

// checkAudit reads the audit log of the API server, and returns an error for whatever caject asked for in all tests that
// it should not ask for.
func checkAudit(control *playground.ControlPlane) error {
	all, err := control.Requests(playground.Mark{}, playground.Mark{})
	if err != nil {
		return err
	}
	var errs []error
	counts := map[string]int{}
	for _, r := range all {
		counts[r.Verb+" "+r.Resource]++
		own := r.Namespace == playground.Namespace && r.Name == "caject-ca"
		switch {
		case r.Code == http.StatusForbidden:
			errs = append(errs, fmt.Errorf("the chart's role does not allow what caject asks for: %+v", r))
		case r.Resource == "secrets" && (r.Name == "" || r.Verb != "get" && !own),
			r.Resource == "certificates" && (r.Name == "" || r.Verb != "get"),
			r.Resource == "" && !asksForPolicies(r):
			errs = append(errs, fmt.Errorf("caject asked for %+v", r))
		}
	}
	fmt.Printf("requests of caject: %v\n", counts)
	for _, expected := range []string{"get secrets", "watch customresourcedefinitions", "update secrets", "patch mutatingwebhookconfigurations"} {
		if counts[expected] == 0 {
			errs = append(errs, fmt.Errorf("the audit log holds no %s: it does not show what it should", expected))
		}
	}
	return errors.Join(errs...)
}

// asksForPolicies reports whether a request asks, of whoever is authenticated, which policies the API server serves.
func asksForPolicies(r playground.Request) bool {
	path, _, _ := strings.Cut(r.URI, "?")
	return r.Verb == "get" && (path == "/apis/admissionregistration.k8s.io/v1" || path == "/apis/admissionregistration.k8s.io/v1beta1")
}

// TestUnannotatedObjectsCostNoCall counts the requests that reach caject.
func TestUnannotatedObjectsCostNoCall(t *testing.T) {
	i := own(t)
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		i.create(t, playground.NewCRD(fmt.Sprintf("quiet%c", 'a'+n), map[string]string{"cert-manager.io/inject-apiserver-ca": "false"}))
		i.create(t, playground.NewAPIService(fmt.Sprintf("silent%c", 'a'+n), nil))
	}
	if n := i.calls(t, "/inject"); n != 0 {
		t.Errorf("%v calls for objects without annotation", n)
	}
	i.create(t, playground.NewAPIService("loud", map[string]string{"cert-manager.io/inject-apiserver-ca": "true"}))
	if n := i.calls(t, "/inject"); n != 1 {
		t.Errorf("%v calls for one annotated object", n)
	}
}
