package field

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
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
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	collector, err := playground.StartProcess([]string{
		filepath.Join(root, "bin", "garbage-collector"), "-kubeconfig", f.Control.Kubeconfig,
	}, 0, filepath.Join(t.TempDir(), "gc.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = collector.Stop() })

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
			if ours := f.ours(ctx, t); !slices.ContainsFunc(ours, func(name string) bool { return strings.HasPrefix(name, resource) }) {
				return fmt.Errorf("there are only %q", ours)
			}
			return nil
		})
	}

	if _, err := f.Control.Helm(t.Context(), "uninstall", "caject", "--namespace", playground.Namespace); err != nil {
		t.Fatal(err)
	}
	nothing := func(ctx context.Context) error {
		if left := f.ours(ctx, t); len(left) > 0 {
			return fmt.Errorf("left: %q", left)
		}
		return nil
	}
	eventually(t, "nothing is left", nothing)
	for range 5 {
		time.Sleep(time.Second)
		if err := nothing(t.Context()); err != nil {
			t.Fatal("it comes back:", err)
		}
	}
	for _, replica := range f.Replicas.All() {
		if err := f.Replicas.StopGently(replica); err != nil {
			t.Log(err)
		}
	}
	if err := nothing(t.Context()); err != nil {
		t.Error("at the end:", err)
	}
	for _, target := range targets {
		f.filled(t, target, ca)
	}
}

// "leader election lost" after an upgrade that makes the ServiceAccount anew: the Lease goes with the former one, and comes back with the
// owner that there is now; likewise one that an older version has left without an owner.
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
}

// ours returns what is there in the cluster of caject's, of whatever kind: "resource namespace/name".
func (f *field) ours(ctx context.Context, t *testing.T) []string {
	t.Helper()
	asks, err := discovery.NewDiscoveryClientForConfig(f.Control.Config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := asks.ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) { // an APIService of the test leads nowhere
		t.Fatal(err)
	}
	reader, err := metadata.NewForConfig(f.Control.Config)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if resource.Name == "events" {
				continue
			}
			objects, err := reader.Resource(group.WithResource(resource.Name)).List(ctx, metav1.ListOptions{})
			if err != nil {
				continue // it has gone meanwhile
			}
			for _, object := range objects.Items {
				if isOurs(&object) && resource.Name != "namespaces" {
					found = append(found, fmt.Sprintf("%s %s/%s", resource.Name, object.Namespace, object.Name))
				}
			}
		}
	}
	return found
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
