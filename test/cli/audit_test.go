package main_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
)

// auditReport is what audit says as data, as far as tests look at it.
type auditReport struct {
	Issues []struct{ Severity, Code, Object, Message, Remedy, Link string }
	Gaps   []string
}

// about returns severity and code of what is said of object.
func (r *auditReport) about(object string) []string {
	var found []string
	for _, issue := range r.Issues {
		if issue.Object == object {
			found = append(found, issue.Severity+" "+issue.Code)
		}
	}
	return found
}

// auditAs runs audit as the user of a kubeconfig.
func auditAs(t *testing.T, kubeconfig string, args ...string) (report auditReport, code int) {
	t.Helper()
	found, code := decoded[auditReport](t, kubeconfig, "audit", args...)
	return *found, code
}

// calling returns object, with service as what its webhooks call.
func calling(object *admissionregistrationv1.ValidatingWebhookConfiguration, service string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	for i := range object.Webhooks {
		object.Webhooks[i].ClientConfig.Service = &admissionregistrationv1.ServiceReference{Namespace: namespace, Name: service}
	}
	return object
}

// createService creates a Service of that name, with an endpoint that is ready or not.
func createService(t *testing.T, name string, ready bool) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	create(t, &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443}}}})
	meta.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	create(t, &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	})
}

// TestAuditOfACluster has one object of each kind of mistake, beside some without one.
func TestAuditOfACluster(t *testing.T) {
	t.Parallel()
	ca, foreign := playground.NewCA("audit"), playground.NewCA("foreign")
	soon := cabundletest.CA("soon", time.Now().Add(-300*24*time.Hour), time.Now().Add(24*time.Hour))
	shut := playground.NewSecret(namespace, "audit-shut", ca)
	shut.Annotations = nil
	create(t, playground.NewSecret(namespace, "audit", ca), playground.NewSecret(namespace, "audit-soon", soon), shut)
	createService(t, "audit-ready", true)
	createService(t, "audit-unready", false)
	create(t, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "audit-external"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"},
	})
	good := playground.FromSecret(namespace, "audit")
	padded := map[string]string{cabundle.InjectCAFromSecretAnnotation: namespace + "/audit\n"}
	misspelt := map[string]string{"certmanager.k8s.io/inject-ca-from": namespace + "/audit"}
	tests := map[string]struct {
		annotations map[string]string
		service     string
		held        []byte // beside what is injected
		want        []string
	}{
		"good":     {good, "audit-ready", nil, nil},
		"external": {good, "audit-external", nil, nil},
		"unready":  {good, "audit-unready", nil, []string{"Error ServiceWithoutEndpoints"}},
		"gone":     {good, "audit-gone", nil, []string{"Error ServiceWithoutEndpoints"}},
		"padded":   {padded, "audit-ready", nil, []string{"Info PaddedAnnotation"}},
		"misspelt": {misspelt, "audit-ready", nil, []string{"Error InvalidAnnotation"}},
		"foreign":  {good, "audit-ready", foreign, []string{"Warning ForeignCA"}},
		"soon":     {playground.FromSecret(namespace, "audit-soon"), "audit-ready", nil, nil},
		"shut":     {playground.FromSecret(namespace, "audit-shut"), "audit-ready", nil, nil},
		"missing":  {playground.FromSecret(namespace, "audit-missing"), "audit-ready", nil, nil},
	}
	for name, test := range tests {
		object := calling(playground.NewValidating("audit-"+name, 1, test.annotations), test.service)
		playground.SetCABundles(object, test.held)
		create(t, object)
		if name == "good" || name == "padded" || name == "foreign" {
			filled(t, object, slices.Concat(test.held, ca))
		}
	}
	want := map[string][]string{
		"secret/cli/audit": nil, "secret/cli/audit-soon": {"Error SourceExpiring"}, "secret/cli/audit-shut": {"Error SourceNotAllowed"},
		"secret/cli/audit-missing": {"Error SourceNotFound"}, "mutatingwebhookconfiguration/caject": nil,
	}
	for name, test := range tests {
		want["validatingwebhookconfiguration/audit-"+name] = test.want
	}
	eventually(t, "audit", func(context.Context) error {
		report, code := auditAs(t, cluster.Kubeconfig)
		got := map[string][]string{}
		for object := range want {
			got[object] = report.about(object)
		}
		if diff := cmp.Diff(want, got); diff != "" || code != 1 || len(report.Gaps) > 0 {
			return fmt.Errorf("exit code %d, gaps %q: %s", code, report.Gaps, diff)
		}
		return nil
	})
	stdout, stderr, code := run(t, "audit", "--namespace", namespace)
	t.Logf("exit code %d\n%s%s", code, stdout, stderr)
}

// TestAuditOfCajectsRights: the chart's roles are no more than it needs, and one that somebody has bound beside them is.
func TestAuditOfCajectsRights(t *testing.T) {
	t.Parallel()
	tooWide := func() []string {
		report, _ := auditAs(t, cluster.Kubeconfig)
		var roles []string
		for _, issue := range report.Issues {
			if issue.Code == "RightsTooWide" {
				roles = append(roles, issue.Object+": "+issue.Message)
			}
		}
		return roles
	}
	if roles := tooWide(); len(roles) > 0 {
		t.Errorf("too wide: %q", roles)
	}
	meta := metav1.ObjectMeta{Name: "audit-too-wide"}
	create(t,
		&rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + playground.Namespace}},
		})
	want := []string{"clusterrole/audit-too-wide: it lets caject list secrets everywhere, which caject never does"}
	if diff := cmp.Diff(want, tooWide()); diff != "" {
		t.Error(diff)
	}
}

// TestAuditWithFewRights: what may not be read is said, and the rest is looked at. Secrets are not listed: to get them is enough.
func TestAuditWithFewRights(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := runAs(t, kubeconfigOf(t), "audit")
	if code != 2 || stdout != "" || !strings.HasPrefix(stderr, "error: you have not the rights for this: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("with none: exit code %d, %q, %q", code, stdout, stderr)
	}

	create(t, playground.NewSecret(namespace, "audit-few", playground.NewCA("audit-few")))
	create(t, playground.NewValidating("audit-few", 1, playground.FromSecret(namespace, "audit-few-missing")))
	listing := rbacv1.PolicyRule{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations"}, Verbs: []string{"list"}}
	report, _ := auditAs(t, kubeconfigOf(t, listing), "--namespace", namespace)
	for _, gap := range []string{
		"you may not list cabundles", "you may not list customresourcedefinitions", "you may not read Services and EndpointSlices in namespace default",
		"you may not read roles", "you may not read Secret cli/audit-few-missing",
	} {
		if !slices.ContainsFunc(report.Gaps, func(text string) bool { return strings.HasPrefix(text, gap) }) {
			t.Errorf("without the gap %q: %q", gap, report.Gaps)
		}
	}
	getting := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}
	report, code = auditAs(t, kubeconfigOf(t, listing, getting), "--namespace", namespace)
	if got := report.about("secret/cli/audit-few-missing"); code != 1 || !slices.Equal(got, []string{"Error SourceNotFound"}) {
		t.Errorf("exit code %d, %q", code, got)
	}
}

// TestAuditOfManifestsAsksNoCluster: neither the cluster of the kubeconfig nor one that does not answer.
func TestAuditOfManifestsAsksNoCluster(t *testing.T) {
	t.Parallel()
	const chart = "../../cmd/kubectl-caject/testdata/audit/chart.yaml"
	want, _, _ := run(t, "audit", "-f", chart)
	for _, args := range [][]string{{"--server", "https://127.0.0.1:1"}, {"--context", "nothing"}} {
		stdout, stderr, code := run(t, append(args, "audit", "-f", chart)...)
		if diff := cmp.Diff(want, stdout); code != 1 || stderr != "" || diff != "" {
			t.Errorf("%q: exit code %d, %q, %s", args, code, stderr, diff)
		}
	}
	if report, code := auditAs(t, kubeconfigOf(t), "-f", "../../cabundle/testdata/manifests"); code != 0 || len(report.Issues) == 0 {
		t.Errorf("exit code %d, %v", code, report)
	}
}
