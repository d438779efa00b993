package main_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"

	"github.com/caject/caject/test/playground"
)

// checks runs kubectl caject check as the user of a kubeconfig, and returns the outcome and the reason of each check by its name, and the exit code.
func checks(t *testing.T, kubeconfig string, args ...string) (outcomes, reasons map[string]string, code int) {
	t.Helper()
	type report struct {
		Checks []struct{ Check, Outcome, Reason string }
	}
	found, code := decoded[report](t, kubeconfig, "check", args...)
	outcomes, reasons = map[string]string{}, map[string]string{}
	for _, one := range found.Checks {
		name := one.Check
		if strings.HasPrefix(name, "certificate of ") {
			name = "certificate" // of a port that is another one each time
		}
		outcomes[name], reasons[name] = one.Outcome, one.Reason
	}
	return outcomes, reasons, code
}

// differ compares some outcomes.
func differ(outcomes, reasons, want map[string]string) error {
	var errs []error
	for check, outcome := range want {
		if outcomes[check] != outcome {
			errs = append(errs, fmt.Errorf("%s: %q, and not %q: %s", check, outcomes[check], outcome, reasons[check]))
		}
	}
	return errors.Join(errs...)
}

// expect fails the test if some outcomes are others.
func expect(t *testing.T, outcomes, reasons, want map[string]string) {
	t.Helper()
	if err := differ(outcomes, reasons, want); err != nil {
		t.Error(err)
	}
}

// withPolicies returns what a check comes to where the API server serves MutatingAdmissionPolicies, and where not.
func withPolicies(t *testing.T, w *world, served, notServed string) string {
	t.Helper()
	there, err := playground.ServesPolicies(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	if there {
		return served
	}
	return notServed
}

// TestCheckBeforeAndAfterTheInstall goes through the life of an installation: before it, installed and not running, running, stopped, and upgraded
// to one without policies and hints.
func TestCheckBeforeAndAfterTheInstall(t *testing.T) {
	t.Parallel()
	w := own(t)
	printed, _, _ := runAs(t, w.Kubeconfig, "check", "--pre")
	t.Logf("before the install:\n%s", printed)
	w.checked(t, 0, map[string]string{
		"version": "ok", "policies": withPolicies(t, w, "ok", "warning"), "clock": "ok", "the chart's objects": "ok", "the chart's roles": "ok",
		"another caject": "ok", "cainjector": "ok", "annotated objects": "ok",
	}, "--pre")
	w.checked(t, 1, map[string]string{"installation": "failed"})

	names := []string{"nameOverride=other", "fullnameOverride=caject"} // it is found whatever its names
	w.install(t, append(names, "resyncInterval=1s")...)
	w.checked(t, 1, map[string]string{
		"installation": "ok", "replicas": "warning", "leader": "warning", "certificate": "failed", "webhook": "failed", "what it needs": "ok",
	})

	process := w.start(t)
	filled := withPolicies(t, w, "ok", "")
	w.checked(t, 0, map[string]string{
		"installation": "ok", "replicas": "warning", "leader": "ok", "certificate": "ok", "policies": withPolicies(t, w, "ok", "warning"), "policies at work": filled,
		"webhook": "ok", "hints": "ok", "what it needs": "ok", "Secrets": "ok", "CABundles": "ok", "annotated objects": "ok", "an injection": "ok",
	})
	printed, _, _ = runAs(t, w.Kubeconfig, "check")
	t.Logf("after it:\n%s", printed)
	w.checked(t, 0, map[string]string{"another caject": "ok"}, "--pre") // an upgrade

	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	w.checked(t, 1, map[string]string{"certificate": "failed", "webhook": "failed", "policies at work": filled})
	short, _, _ := runAs(t, w.Kubeconfig, "check", "--output", "short")
	t.Logf("stopped, in short:\n%s", short)
	if !strings.Contains(short, "✗ Admission: webhook: ") || strings.Contains(short, "✓") || !strings.Contains(short, "/docs/troubleshooting.md#the-api-server-does-not-reach-the-webhook)") {
		t.Errorf("in short it says %s", short)
	}

	if err := w.chart.Upgrade(t.Context(), w.ControlPlane, append(names, "policy.enabled=false", "hints.enabled=false")...); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.checked(t, 0, map[string]string{"policies": "warning", "policies at work": "", "hints": "warning", "webhook": "ok", "an injection": "ok"})
}

// checked fails the test unless kubectl caject check comes to these outcomes, by the name of the check, and that exit code.
func (w *world) checked(t *testing.T, code int, want map[string]string, args ...string) {
	t.Helper()
	eventually(t, "check", func(context.Context) error {
		outcomes, reasons, got := checks(t, w.Kubeconfig, args...)
		if got != code {
			return fmt.Errorf("exit code %d: %v", got, reasons)
		}
		return differ(outcomes, reasons, want)
	})
}

// TestCheckBeforeTheInstallSeesOthers: another release of caject, and a cainjector at work.
func TestCheckBeforeTheInstallSeesOthers(t *testing.T) {
	t.Parallel()
	outcomes, reasons, code := checks(t, cluster.Kubeconfig, "--pre")
	expect(t, outcomes, reasons, map[string]string{"another caject": "ok", "cainjector": "ok"})
	if code != 0 || !strings.Contains(reasons["another caject"], "helm upgrade") {
		t.Errorf("of its own release: exit code %d, %s", code, reasons["another caject"])
	}
	create(t, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cert-manager-cainjector-leader-election"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("cainjector-0_some"), LeaseDurationSeconds: ptr.To(int32(600)), RenewTime: ptr.To(metav1.NewMicroTime(time.Now())),
		},
	})
	outcomes, reasons, code = checks(t, cluster.Kubeconfig, "--pre", "--namespace", "elsewhere")
	expect(t, outcomes, reasons, map[string]string{"another caject": "failed", "cainjector": "ok"})
	if code != 1 || !strings.Contains(reasons["another caject"], "release caject in namespace caject") || !strings.Contains(reasons["cainjector"], "cainjector-0_some") {
		t.Errorf("of another release: exit code %d, %v", code, reasons)
	}
}

// TestCheckWithFewRights: what cannot be looked at is said to be so, and nothing is taken for wrong.
func TestCheckWithFewRights(t *testing.T) {
	t.Parallel()
	none := kubeconfigOf(t)
	if stdout, stderr, code := runAs(t, none, "check"); code != 2 || stdout != "" || !strings.HasPrefix(stderr, "error: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("without any right: exit code %d, %q, %q", code, stdout, stderr)
	}
	outcomes, reasons, code := checks(t, none, "--pre")
	expect(t, outcomes, reasons, map[string]string{
		"version": "ok", "the chart's objects": "failed", "the chart's roles": "failed", "another caject": "unknown", "cainjector": "unknown", "annotated objects": "unknown",
	})
	if code != 1 || !strings.HasPrefix(reasons["the chart's objects"], "you may not get customresourcedefinitions") {
		t.Errorf("before the install: exit code %d, %v", code, reasons)
	}

	reader := kubeconfigOf(t, rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "list"}})
	outcomes, reasons, code = checks(t, reader)
	if code != 0 {
		t.Errorf("with the right to read Deployments: exit code %d, %v", code, reasons)
	}
	expect(t, outcomes, reasons, map[string]string{
		"installation": "ok", "replicas": "unknown", "leader": "unknown", "certificates": "unknown", "webhook": "unknown", "an injection": "unknown", "hints": "unknown",
		"calls": "unknown", "what it needs": "unknown", "Secrets": "unknown", "CABundles": "unknown", "annotated objects": "unknown",
	})
	for check, outcome := range outcomes {
		if reason := reasons[check]; outcome == "unknown" && !strings.Contains(reason, "you may not ") {
			t.Errorf("%s: the reason is %q", check, reason)
		}
	}
}

// TestCheckSeesRightsThatDoNotFit: of caject's ServiceAccount, too many and too few.
func TestCheckSeesRightsThatDoNotFit(t *testing.T) {
	t.Parallel()
	w := own(t)
	w.install(t)
	w.create(t,
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "too-much"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list"}}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "too-much"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "too-much"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: playground.Namespace, Name: "caject"}},
		})
	if err := w.client.Delete(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: playground.Namespace, Name: "caject"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API server knows", func(context.Context) error {
		outcomes, reasons, _ := checks(t, w.Kubeconfig)
		if outcomes["what it needs"] != "failed" || outcomes["Secrets"] != "failed" || !strings.Contains(reasons["what it needs"], "may not update secrets caject-ca in caject") {
			return errors.New(reasons["what it needs"] + "; " + reasons["Secrets"])
		}
		return nil
	})
}

// TestCheckSeesACertificateThatNobodyTrusts: something else answers in caject's place.
func TestCheckSeesACertificateThatNobodyTrusts(t *testing.T) {
	t.Parallel()
	w := own(t)
	w.install(t)
	process := w.start(t)
	eventually(t, "caject's own is trusted", func(context.Context) error {
		if outcomes, reasons, _ := checks(t, w.Kubeconfig); outcomes["certificate"] != "ok" {
			return errors.New(reasons["certificate"])
		}
		return nil
	})
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey("caject.caject.svc", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(w.chart.WebhookPort)), &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	outcomes, reasons, code := checks(t, w.Kubeconfig)
	expect(t, outcomes, reasons, map[string]string{"certificate": "failed", "webhook": "failed"})
	if code != 1 || !strings.Contains(reasons["certificate"], "does not accept it for inject.caject.io of caject: no certificate of the caBundle has issued it") {
		t.Errorf("exit code %d, %s", code, reasons["certificate"])
	}
}
