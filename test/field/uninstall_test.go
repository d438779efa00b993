package field

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// "helm uninstall leaves resources behind": caject still runs meanwhile, as pods go last, and nothing comes back. The garbage collector is that
// of Kubernetes' controller manager. Events stay, as those of every program do, and so does the namespace, as helm has it.
// (sigstore/helm-charts#504; cert-manager/website#1733 says it of cert-manager's Leases)
func TestUninstallLeavesThingsBehind(t *testing.T) {
	t.Parallel()
	f := own(t, true, "metrics.secure=true")
	f.collectGarbage(t)
	ca := playground.NewCA("uninstall")
	targets := []client.Object{
		playground.NewValidating("uninstall", 1, playground.FromSecret(trial.Namespace, "uninstall")),
		playground.NewMutating("uninstall", 1, playground.FromSecret(trial.Namespace, "uninstall")),
		playground.NewCRD("uninstall", playground.FromSecret(trial.Namespace, "uninstall")),
		playground.NewAPIService("uninstalled", playground.FromSecret(trial.Namespace, "uninstall")),
	}
	f.create(t, playground.NewSecret(trial.Namespace, "uninstall", ca))
	f.create(t, targets...)
	for _, target := range targets {
		f.filled(t, target, ca)
	}
	for _, resource := range []string{"leases", "podtemplates", "cabundles", "secrets"} {
		eventually(t, "make its "+resource, func(ctx context.Context) error {
			ours, err := f.ours(ctx)
			if err == nil && !slices.ContainsFunc(ours, func(name string) bool { return strings.HasPrefix(name, resource) }) {
				err = fmt.Errorf("there are only %q", ours)
			}
			return err
		})
	}

	if _, err := f.Control.Helm(t.Context(), "uninstall", "caject", "--namespace", playground.Namespace); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left", f.nothing)
	for range 5 {
		time.Sleep(time.Second)
		if err := f.nothing(t.Context()); err != nil {
			t.Fatal("later:", err)
		}
	}
	for _, replica := range f.Replicas.All() {
		if err := f.Replicas.StopGently(replica); err != nil {
			t.Log(err)
		}
	}
	if err := f.nothing(t.Context()); err != nil {
		t.Error("at the end:", err)
	}
	for _, target := range targets {
		f.filled(t, target, ca)
	}
}

// Argo CD deletes all objects of an Application at once, and kubectl in the order of a file: the CA Secret can go while caject may still make
// it again. What it makes goes with the ServiceAccount.
func TestUninstallInAnyOrderLeavesACAKeyBehind(t *testing.T) {
	t.Parallel()
	f := own(t, true, "metrics.secure=true")
	f.collectGarbage(t)
	secrets := []string{"caject-ca", "caject-metrics-ca"}
	for _, secret := range secrets {
		eventually(t, secret+" is filled", func(ctx context.Context) error { return f.hasKey(ctx, secret) })
	}
	f.kubectl(t, "", append([]string{"delete", "--namespace", playground.Namespace, "secret"}, secrets...)...)
	for _, secret := range secrets {
		eventually(t, secret+" is restored", func(ctx context.Context) error { return f.hasKey(ctx, secret) })
	}
	f.quiet(t)
	f.kubectl(t, "", "delete", "--namespace", playground.Namespace, "serviceaccount", "caject")
	for _, secret := range secrets {
		eventually(t, secret+" is gone", func(ctx context.Context) error {
			if err := f.hasKey(ctx, secret); !apierrors.IsNotFound(err) {
				return fmt.Errorf("there is still a Secret: %v", err)
			}
			return nil
		})
	}
}

// hasKey returns an error unless the Secret that has the given name holds a private key.
func (f *field) hasKey(ctx context.Context, name string) error {
	secret := &corev1.Secret{}
	if err := f.Client.Get(ctx, client.ObjectKey{Namespace: playground.Namespace, Name: name}, secret); err != nil {
		return err
	}
	if len(secret.Data[corev1.TLSPrivateKeyKey]) == 0 {
		return fmt.Errorf("%s holds no key", name)
	}
	return nil
}

// nothing returns an error if something of caject's is left.
func (f *field) nothing(ctx context.Context) error {
	left, err := f.ours(ctx)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left: %q", left)
	}
	return err
}

// collectGarbage runs the garbage collector until the test ends.
func (f *field) collectGarbage(t *testing.T) {
	t.Helper()
	collector, err := f.Control.StartGarbageCollector(filepath.Join(t.TempDir(), "gc.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = collector.Stop() })
}

// A Lease from before, without an owner or with one that is gone, gets the present one, and nobody loses it over that.
func TestALeaseWithoutOwnerIsOwned(t *testing.T) {
	t.Parallel()
	f := own(t, true)
	key := client.ObjectKey{Namespace: playground.Namespace, Name: playground.Namespace}
	owner := func(ctx context.Context) error {
		lease := &coordinationv1.Lease{}
		if err := f.Client.Get(ctx, key, lease); err != nil {
			return err
		}
		if owners := lease.OwnerReferences; len(owners) != 1 || owners[0].Kind != "ServiceAccount" || owners[0].UID == "former" {
			return fmt.Errorf("the owners are %v", owners)
		}
		return nil
	}
	eventually(t, "it is owned", owner)
	for sentence, change := range map[string]string{
		"without an owner":        `{"metadata":{"ownerReferences":null}}`,
		"with one of former days": `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ServiceAccount","name":"caject","uid":"former"}]}}`,
	} {
		f.kubectl(t, "", "patch", "lease", key.Name, "--namespace", key.Namespace, "--type=merge", "--patch", change)
		eventually(t, sentence, owner)
	}
	if logs := f.Logs(); strings.Contains(logs, "No leader election") {
		t.Error(logs)
	}
	f.quiet(t) // who owns it is not asked again and again
}

// ours returns what is there in the cluster of caject's, of whatever kind: "resource namespace/name".
func (f *field) ours(ctx context.Context) (found []string, err error) {
	config := rest.CopyConfig(f.Control.Config)
	config.WarningHandler = rest.NoWarnings{} // of old kinds
	asks, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	reader, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	lists, err := asks.ServerPreferredResources()
	var failed *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	if failed != nil {
		for group := range failed.Groups {
			if !strings.HasSuffix(group.Group, ".example.com") { // an APIService of the test leads nowhere
				return nil, failed
			}
		}
	}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			if resource.Name == "events" || resource.Name == "namespaces" {
				continue
			}
			objects, err := reader.Resource(group.WithResource(resource.Name)).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", resource.Name, err)
			}
			for _, object := range objects.Items {
				if isOurs(&object) {
					found = append(found, fmt.Sprintf("%s %s/%s", resource.Name, object.Namespace, object.Name))
				}
			}
		}
	}
	return found, nil
}

// isOurs reports whether object names caject in its name, namespace, labels or owners.
func isOurs(object *metav1.PartialObjectMetadata) bool {
	words := []string{object.Name, object.Namespace}
	for key, value := range object.Labels {
		words = append(words, key, value)
	}
	for _, owner := range object.OwnerReferences {
		words = append(words, owner.Name)
	}
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(word, "caject") })
}
