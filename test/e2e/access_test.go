package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
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

// reinstall installs the chart anew, with helm's arguments on top of what the playground needs, and runs caject until stop is called.
func (i *installation) reinstall(t *testing.T, log string, args ...string) (process *playground.Process, stop func()) {
	t.Helper()
	if _, err := i.control.Helm(t.Context(), "uninstall", "caject", "--namespace", playground.Namespace, "--wait"); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"install", "caject", filepath.Join(projectRoot(t), "charts", "caject"), "--namespace", playground.Namespace}, append(sets(i.Values()), args...)...)
	if _, err := i.control.Helm(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
	if err := i.Read(t.Context(), i.control); err != nil {
		t.Fatal(err)
	}
	process, err := i.start(log)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	}
	if err := process.WaitReady(t.Context()); err != nil {
		stop()
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

// TestAccessToSources installs the chart for sources in the cluster, in a namespace, and by name, and asks the API server what is allowed. In
// each form what is allowed is injected and pushed, and a target that names something else is told why it is not.
func TestAccessToSources(t *testing.T) {
	t.Parallel()
	i := own(t)
	secrets := []string{namespace + "/named", namespace + "/other", "default/named", playground.Namespace + "/x", "kube-system/x"}
	certificates := []string{namespace + "/named", namespace + "/other", "default/named"}
	for n, form := range []struct {
		values                []string
		secrets, certificates []string // that may be got
	}{
		{nil, secrets, certificates},
		{[]string{"sources.namespaces={" + namespace + "}"}, secrets[:2], certificates[:2]},
		{[]string{"sources.access=names", "sources.names={" + secrets[0] + "}", "sources.certificateNames={" + certificates[0] + "}"}, secrets[:1], certificates[:1]},
		{[]string{"sources.access=names", "sources.names={" + secrets[0] + "}", "sources.certificates=false"}, secrets[:1], nil},
	} {
		mark, err := i.control.Mark()
		if err != nil {
			t.Fatal(err)
		}
		process, stop := i.reinstall(t, fmt.Sprintf("caject-%d.log", n), sets(append(form.values, "resyncInterval=1h"))...)
		i.gets(t, "", "secrets", secrets, form.secrets)
		i.gets(t, "cert-manager.io", "certificates", certificates, form.certificates)

		name := fmt.Sprintf("access%c", 'a'+n)
		ca := playground.NewCA(name)
		secret := playground.NewSecret(namespace, "named", ca)
		if err := i.client.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		inside, outside := playground.NewValidating(name, 1, playground.FromSecret(namespace, "named")), playground.NewCRD("out"+name, playground.FromSecret("default", "named"))
		i.create(t, inside, outside)
		i.filled(t, inside, ca)
		if !slices.Contains(form.secrets, "default/named") {
			i.event(t, outside, string(cabundle.SourceOutOfScope))
		}
		hints := i.calls(t, "/hint")
		secret.Data["ca.crt"] = playground.NewCA("next" + name)
		if err := i.client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		i.filled(t, inside, ca, secret.Data["ca.crt"])
		if i.calls(t, "/hint") == hints {
			t.Errorf("%q: the rotation was not pushed", form.values)
		}
		stop()
		if err := i.client.Delete(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		if err := i.neverForbidden(mark); err != nil {
			t.Errorf("%q: %v\n%s", form.values, err, process.ReadLog())
		}
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
	file := filepath.Join(projectRoot(t), "charts", "caject", "values-hardened.yaml")
	process, stop := i.reinstall(t, "hardened.log", "--values", file, "--set", "resyncInterval=1s,sources.names={"+namespace+"/named}")
	defer stop()
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
