package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// begin runs caject as the chart says that somebody has installed, and the garbage collector, and sees that they work: a target of each kind
// that Kubernetes does not call at once is filled, and with policies where the API server serves them.
func (i *installation) begin(t *testing.T, name string) (targets []client.Object, ca []byte) {
	t.Helper()
	if err := i.Read(t.Context(), i.control); err != nil {
		t.Fatal(err)
	}
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	collector, err := i.control.StartGarbageCollector(filepath.Join(t.TempDir(), "gc.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = collector.Stop() })
	served, err := playground.ServesPolicies(i.control.Config)
	if err != nil {
		t.Fatal(err)
	}
	if served != i.byPolicy(t, cabundle.MutatingWebhookConfiguration) {
		t.Errorf("the API server serves policies: %t; there are some: %t", served, !served)
	}
	ca = playground.NewCA(name)
	i.create(t, playground.NewSecret(namespace, name, ca))
	annotations := playground.FromSecret(namespace, name)
	targets = []client.Object{playground.NewValidating(name, 1, annotations), playground.NewMutating(name, 1, annotations), playground.NewCRD(name, annotations)}
	i.create(t, targets...)
	for _, target := range targets {
		i.filled(t, target, ca)
	}
	i.publication(t, "secret."+namespace+"."+name, "ready", ready)
	return targets, ca
}

// unchanged fails the test if again changes one of the objects in a manifest, or what is in caject's CA Secret.
func (i *installation) unchanged(t *testing.T, manifests string, again func()) {
	t.Helper()
	secret := i.caSecret(t)
	if len(secret.Data) == 0 {
		t.Error("the CA Secret is empty")
	}
	before := i.versions(t, manifests)
	again()
	if diff := cmp.Diff(before, i.versions(t, manifests)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(secret.Data, i.caSecret(t).Data); diff != "" {
		t.Error("the CA Secret has changed")
	}
}

// versions returns the resourceVersions of the objects in manifests.
func (i *installation) versions(t *testing.T, manifests string) []string {
	t.Helper()
	return versionsOf(t, i.control, written(t, "manifests.yaml", manifests))
}

// written writes content to a file of the test.
func written(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// left are the objects that have caject's name, of whatever kind but Events, and APIServices, which the API server itself makes for a CRD.
func (i *installation) left(ctx context.Context) ([]string, error) {
	kinds, err := i.control.Kubectl(ctx, "", "api-resources", "--verbs=list,delete", "--output=name")
	if err != nil {
		return nil, err
	}
	asked := slices.DeleteFunc(strings.Fields(kinds.Stdout), func(kind string) bool {
		return strings.HasPrefix(kind, "events") || strings.HasPrefix(kind, "apiservices.")
	})
	found, err := i.control.Kubectl(ctx, "", "get", strings.Join(asked, ","), "--all-namespaces", "--output=name", "--ignore-not-found")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for name := range strings.FieldsSeq(found.Stdout) {
		names[name] = strings.Contains(name, "caject")
	}
	maps.DeleteFunc(names, func(_ string, ours bool) bool { return !ours })
	return slices.Sorted(maps.Keys(names)), nil
}

// nothingIsLeftBut waits until all that has caject's name is gone but want, and sees that targets still hold what was injected.
func (i *installation) nothingIsLeftBut(t *testing.T, want []string, targets []client.Object, ca []byte) {
	t.Helper()
	var wrong string
	if err := playground.Eventually(t.Context(), 2*time.Minute, time.Second, func(ctx context.Context) error {
		left, err := i.left(ctx)
		if err != nil {
			return err
		}
		if wrong = cmp.Diff(want, left); wrong != "" {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatalf("%v; what is left differs:\n%s", err, wrong)
	}
	for _, target := range targets {
		i.filled(t, target, ca)
	}
}

// argocd runs Argo CD's code for an Application on this control plane.
func (i *installation) argocd(t *testing.T, app application, manifests string, args ...string) string {
	t.Helper()
	output, err := i.control.Client(t.Context(), manifests, "argocd", append([]string{"-application", app.file(t)}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return output.Stdout
}

// TestArgoCDInstallsTheChart by the Application in docs/gitops.md, and without server-side apply. What other charts have had in the same place:
// an object that is OutOfSync for ever over a default of the API server's (cilium/cilium#30634).
func TestArgoCDInstallsTheChart(t *testing.T) {
	t.Parallel()
	for sentence, option := range map[string]string{"as on the page": "ServerSideApply=true", "client-side": "ServerSideApply=false"} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			i := bare(t)
			app := onThePage(t, "path: charts/caject").with(t, i.Values())
			app = application(strings.Replace(string(app), "ServerSideApply=true", option, 1))
			render := func() string { return i.argocd(t, app, "", "render", projectRoot(t)) }
			manifests := render()
			i.argocd(t, app, manifests, "sync")
			targets, ca := i.begin(t, "argocd")
			if differing := linesWithout(i.argocd(t, app, manifests, "compare"), " Synced"); len(differing) > 0 {
				t.Errorf("OutOfSync:\n%s", strings.Join(differing, "\n"))
			}
			i.unchanged(t, manifests, func() { i.argocd(t, app, render(), "sync") })
			i.argocd(t, app, "", "delete")
			i.nothingIsLeftBut(t, []string{
				"cabundle.caject.io/secret.caject.caject-ca", "cabundle.caject.io/secret.e2e.argocd",
				"customresourcedefinition.apiextensions.k8s.io/cabundles.caject.io", "namespace/caject",
			}, targets, ca)
			if _, err := i.control.Kubectl(t.Context(), "", "delete", "crd", "cabundles.caject.io"); err != nil {
				t.Fatal(err)
			}
			i.nothingIsLeftBut(t, []string{"namespace/caject"}, targets, ca)
		})
	}
}

// TestArgoCDJudgesCABundles by the script in docs/gitops.md.
func TestArgoCDJudgesCABundles(t *testing.T) {
	t.Parallel()
	i := own(t)
	name := func(source string) string { return "secret.e2e." + source }
	unseen := fmt.Sprintf("apiVersion: caject.io/v1alpha1\nkind: CABundle\nmetadata: {name: %s}\nspec: {source: secret/e2e/unseen}\n", name("unseen"))
	if _, err := i.control.Kubectl(t.Context(), unseen, "create", "--kubeconfig", i.Kubeconfig, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	page := onThePage(t, "resource.customizations.health.caject.io_CABundle")
	i.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "argocd"}})
	if _, err := i.control.Kubectl(t.Context(), string(page), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	judged := func(source string) string {
		t.Helper()
		manifest := fmt.Sprintf("apiVersion: caject.io/v1alpha1\nkind: CABundle\nmetadata: {name: %s}\n", name(source))
		return strings.TrimSpace(strings.TrimPrefix(i.argocd(t, onThePage(t, "path: charts/caject"), manifest, "health"), "CABundle "+name(source)))
	}
	if got, want := judged("unseen"), "Progressing caject has not looked at the source yet"; got != want {
		t.Errorf("before caject runs: %q, want %q", got, want)
	}
	if err := i.run(t, "caject.log").WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.create(t, playground.NewSecret(namespace, "there", playground.NewCA("there")))
	i.create(t, playground.NewValidating("there", 1, playground.FromSecret(namespace, "there")), playground.NewValidating("missing", 1, playground.FromSecret(namespace, "missing")))
	bundle := i.publication(t, name("there"), "ready", ready)
	if got, want := judged("there"), "Healthy "+bundle.Status.Conditions[0].Message; got != want {
		t.Errorf("of a source that is there: %q, want %q", got, want)
	}
	bundle = i.publication(t, name("missing"), "not found", because(cabundle.SourceNotFound))
	if got, want := judged("missing"), "Degraded "+bundle.Status.Conditions[0].Message; got != want {
		t.Errorf("of a source that is missing: %q, want %q", got, want)
	}
}
