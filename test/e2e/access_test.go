package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// reinstall installs the chart, or upgrades it, with helm's arguments on top of what the playground needs and no others, and runs caject until stop
// is called, or the test ends.
func (i *installation) reinstall(t *testing.T, log string, args ...string) (process *playground.Process, stop func()) {
	t.Helper()
	chart := []string{"upgrade", "--install", "--reset-values", "caject", filepath.Join(projectRoot(t), "charts", "caject"), "--namespace", playground.Namespace}
	if _, err := i.control.Helm(t.Context(), slices.Concat(chart, sets(i.Values()), args)...); err != nil {
		t.Fatal(err)
	}
	if err := i.Read(t.Context(), i.control); err != nil {
		t.Fatal(err)
	}
	process, err := i.start(log)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop) // a test that fails calls it, too
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, process.ReadLog())
	}
	return process, stop
}

// may asks the API server, as caject, what caject may do with Secrets or Certificates: a verb, a namespace, or none for all, and a name, or none.
func (i *installation) may(t *testing.T, group, resource, verb, namespace, name string) bool {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", i.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	asCaject, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name},
	}}
	review, err = asCaject.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// gets fails the test unless caject may get just those of all, namespace/name, and may list and watch none in any namespace.
func (i *installation) gets(t *testing.T, group, resource string, all, allowed []string) {
	t.Helper()
	for _, source := range all {
		namespace, name := filepath.Split(source)
		namespace = filepath.Clean(namespace)
		if got, want := i.may(t, group, resource, "get", namespace, name), slices.Contains(allowed, source); got != want {
			t.Errorf("get %s %s is allowed: %v", resource, source, got)
		}
	}
	for _, in := range []string{"", "default", namespace, playground.Namespace} {
		for _, verb := range []string{"list", "watch", "delete", "deletecollection", "create", "update", "patch"} {
			if i.may(t, group, resource, verb, in, "") {
				t.Errorf("%s %s in %q is allowed", verb, resource, in)
			}
		}
	}
}

// TestAccessToSources has the chart upgraded from sources in the cluster to those in a namespace, and to those that are named, and asks the API server
// what is allowed. In each form what is allowed is injected and pushed, and a target that names something else is told why it is not.
func TestAccessToSources(t *testing.T) {
	t.Parallel()
	i := own(t)
	for _, form := range []struct {
		access                string
		values                []string
		secrets, certificates int // how many of those below may be got
	}{
		{"cluster", nil, 5, 5},
		{"namespaces", []string{"sources.namespaces={" + namespace + "}"}, 2, 2},
		{"names", []string{"sources.names={" + namespace + "/names}", "sources.certificateNames={" + namespace + "/names}"}, 1, 1},
	} {
		sources := []string{namespace + "/" + form.access, namespace + "/x", "default/x", playground.Namespace + "/x", "kube-system/x"}
		mark, err := i.control.Mark()
		if err != nil {
			t.Fatal(err)
		}
		process, stop := i.reinstall(t, form.access+".log", sets(append(form.values, "resyncInterval=1h"))...)
		i.gets(t, "", "secrets", sources, sources[:form.secrets])
		i.gets(t, "cert-manager.io", "certificates", sources, sources[:form.certificates])
		i.injectsAndFollows(t, form.access, form.access != "cluster")
		stop()
		if err := i.neverForbidden(mark); err != nil {
			t.Errorf("%s: %v", form.access, err)
		}
		if t.Failed() {
			t.Fatalf("%s:\n%s", form.access, process.ReadLog())
		}
	}
}

// injectsAndFollows creates a Secret and a target of that name, and rotates the CA. With bounded, another target's source is out of scope.
func (i *installation) injectsAndFollows(t *testing.T, name string, bounded bool) {
	t.Helper()
	ca, next := playground.NewCA(name), playground.NewCA("next-"+name)
	secret := playground.NewSecret(namespace, name, ca)
	inside, outside := playground.NewValidating(name, 1, playground.FromSecret(namespace, name)), playground.NewCRD("out"+name, playground.FromSecret("default", "x"))
	i.create(t, secret, inside, outside)
	i.filled(t, inside, ca)
	if bounded {
		i.event(t, outside, string(cabundle.SourceOutOfScope))
	}
	hints := i.calls(t, "/hint")
	i.changeSecret(t, name, func(s *corev1.Secret) { s.Data["ca.crt"] = next })
	i.filled(t, inside, ca, next)
	if i.calls(t, "/hint") == hints {
		t.Error("the rotation was not pushed")
	}
}

// neverForbidden returns an error for what the API server has forbidden caject since mark.
func (i *installation) neverForbidden(mark playground.Mark) error {
	requests, err := i.control.Requests(mark, playground.Mark{})
	if err != nil {
		return err
	}
	for _, r := range requests {
		if r.Code == http.StatusForbidden {
			err = errors.Join(err, fmt.Errorf("the chart's roles do not allow %+v", r))
		}
	}
	return err
}

// TestTheHardenedValues installs the chart with values-hardened.yaml: it works, reads what is named, and has no right beside.
func TestTheHardenedValues(t *testing.T) {
	t.Parallel()
	i := own(t)
	mark, err := i.control.Mark()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.control.Helm(t.Context(), "uninstall", "caject", "--namespace", playground.Namespace, "--wait"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(projectRoot(t), "charts", "caject", "values-hardened.yaml")
	process, _ := i.reinstall(t, "hardened.log", "--values", file, "--set", "resyncInterval=1s,sources.names={"+namespace+"/named}")
	all := []string{namespace + "/named", namespace + "/other", "default/named"}
	i.gets(t, "", "secrets", all, all[:1])
	i.gets(t, "cert-manager.io", "certificates", all, nil)
	for _, in := range []string{"default", namespace} {
		if i.may(t, "", "events", "create", in, "") {
			t.Error("it may write Events in", in)
		}
	}
	ca := playground.NewCA("hardened")
	i.create(t, playground.NewSecret(namespace, "named", ca), playground.NewSecret(namespace, "other", ca))
	crd, configuration := playground.NewCRD("hardened", playground.FromSecret(namespace, "named")), playground.NewMutating("hardened", 1, playground.FromSecret(namespace, "named"))
	outside := playground.NewCRD("outside", playground.FromSecret(namespace, "other"))
	i.create(t, crd, configuration, outside)
	i.filled(t, crd, ca)
	i.filled(t, configuration, ca)
	i.filled(t, outside, nil)
	if events, err := playground.EventsOn(t.Context(), i.client, outside); err != nil || len(events) > 0 {
		t.Errorf("Events %v, %v", events, err)
	}
	if got := i.warnings.about("other sources only"); len(got) == 0 {
		t.Errorf("whoever applied it is not told: %q", i.warnings.about())
	}
	if code := metricsCode(t, i); code != http.StatusUnauthorized {
		t.Errorf("metrics are served to anybody: %d", code)
	}
	if err := i.neverForbidden(mark); err != nil {
		t.Errorf("%v\n%s", err, process.ReadLog())
	}
}

// metricsClient trusts the CA of metrics.
func (i *installation) metricsClient(t *testing.T) *http.Client {
	t.Helper()
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: i.metricsCA(t), ServerName: "caject-metrics." + playground.Namespace + ".svc",
	}}}
}

// metricsCode asks for metrics without a token.
func metricsCode(t *testing.T, i *installation) int {
	t.Helper()
	response, err := i.metricsClient(t).Get(fmt.Sprintf("https://localhost:%d/metrics", i.MetricsPort))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// TestViewersSeeCABundles asks the API server what the chart's role for viewers allows. (The controller that adds it to view does not run here.)
func TestViewersSeeCABundles(t *testing.T) {
	t.Parallel()
	i := shared
	i.create(t,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "viewer"}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "e2e-viewer"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "caject-view"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "viewer"}},
		})
	for verb, want := range map[string]string{"get": "yes", "list": "yes", "watch": "yes", "delete": "no", "update": "no"} {
		output, err := i.control.Kubectl(t.Context(), "", "auth", "can-i", verb, "cabundles.caject.io", "--as", "system:serviceaccount:"+namespace+":viewer")
		if got := strings.TrimSpace(output.Stdout); got != want {
			t.Errorf("can-i %s: %s (%v)", verb, got, err)
		}
	}
}
