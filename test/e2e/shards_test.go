package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
)

// TestShardsAreOurs looks at what is in them, and what becomes of them.
func TestShardsAreOurs(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	if err := i.run(t, "caject.log").WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca := playground.NewCA("shard")
	target := playground.NewValidating("shard", 1, playground.FromSecret(namespace, "shard"))
	i.create(t, playground.NewSecret(namespace, "shard", ca), target)
	i.filled(t, target, ca)
	i.policiesRead(t, "secret/e2e/shard", ca)
	all, err := playground.Shards(t.Context(), i.client)
	if err != nil || len(all) != 1 {
		t.Fatalf("there are %d shards (%v)", len(all), err)
	}
	if owners := all[0].OwnerReferences; len(owners) != 1 || owners[0].Kind != "ServiceAccount" || owners[0].UID == "" {
		t.Errorf("it goes with %+v", owners)
	}
	account := &corev1.ServiceAccount{}
	if err := i.client.Get(t.Context(), client.ObjectKey{Namespace: playground.Namespace, Name: all[0].OwnerReferences[0].Name}, account); err != nil || account.UID != all[0].OwnerReferences[0].UID {
		t.Errorf("its owner is not there: %v", err)
	}
	for _, entry := range i.warnings.about("PodSecurity") {
		t.Error(entry)
	}

	// Who deletes one gets it made again.
	if err := i.client.Delete(t.Context(), &all[0]); err != nil {
		t.Fatal(err)
	}
	i.policiesRead(t, "secret/e2e/shard", ca)
}

// TestSourcesArePublishedBeforeTheyAreNamed has the first webhook configuration of a source filled in the request that creates it.
func TestSourcesArePublishedBeforeTheyAreNamed(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=500ms")
	if err := i.run(t, "caject.log").WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads := func() float64 {
		families, err := i.metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0.0
		for _, metric := range families["caject_source_reads_total"].GetMetric() {
			n += metric.GetCounter().GetValue()
		}
		return n
	}
	first, second := playground.NewCA("first"), playground.NewCA("second")
	neutral := playground.NewSecret(namespace, "neutral", first)
	neutral.Annotations = map[string]string{cabundle.AllowInjectionAnnotation: "true"}
	certificates := playground.NewSecret(namespace, "certificates", first)
	certificates.Annotations = map[string]string{cabundle.CertificateNameAnnotation: "certificates"}
	i.create(t, playground.NewSecret(namespace, "ahead", first), neutral, certificates)
	for _, name := range []string{"ahead", "neutral"} {
		i.policiesRead(t, "secret/e2e/"+name, first)
		i.published(t, name) // the API server's policies see a shard some milliseconds after it is stored
		target := playground.NewMutating(name, 2, playground.FromSecret(namespace, name))
		i.createFilled(t, target, first)
		i.publication(t, "secret.e2e."+name, "shown", ready)
	}
	published, err := playground.Published(t.Context(), i.client)
	if err != nil {
		t.Fatal(err)
	}
	for source := range published {
		if strings.Contains(source, "certificates") {
			t.Errorf("%s is published, and no target has named it", source)
		}
	}

	// Long after its last target is gone it is still there for the next one, although it has been rotated meanwhile. Nobody polls it.
	gone := playground.NewMutating("ahead", 1, nil)
	if err := i.client.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no longer shown", func(ctx context.Context) error {
		if err := i.client.Get(ctx, client.ObjectKey{Name: "secret.e2e.ahead"}, &v1alpha1.CABundle{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there (%v)", err)
		}
		return nil
	})
	i.policiesRead(t, "secret/e2e/ahead", first)
	i.changeSecret(t, "ahead", func(s *corev1.Secret) { s.Data["ca.crt"] = second })
	i.policiesRead(t, "secret/e2e/ahead", first, second)
	if err := i.client.Delete(t.Context(), playground.NewMutating("neutral", 1, nil)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // what is under way ends
	before := reads()
	time.Sleep(3 * time.Second) // six intervals
	if n := reads() - before; n > 12 {
		t.Errorf("%v reads of sources that no target names, besides those of caject's own", n)
	}
	last := playground.NewValidating("ahead", 2, playground.FromSecret(namespace, "ahead"))
	i.createFilled(t, last, first, second)
}

// createFilled fails the test unless a webhook configuration is filled with want: in the answer to the create, if policies do it.
func (i *installation) createFilled(t *testing.T, target client.Object, want ...[]byte) {
	t.Helper()
	i.create(t, target)
	if !i.byPolicy(t, cabundle.MutatingWebhookConfiguration) {
		i.filled(t, target, want...)
	} else if err := playground.Holds(target, want...); err != nil {
		t.Errorf("in the answer to the create: %v", err)
	}
}

// TestAShardOfAnotherClusterCountsForNothing restores the backup of another cluster.
func TestAShardOfAnotherClusterCountsForNothing(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	foreign, ca := playground.NewCA("foreign"), playground.NewCA("ours")
	restored := playground.NewShard("caject-published-0", map[string]string{"secret/e2e/moved": playground.Entry(foreign)})
	restored.Annotations = map[string]string{"caject.io/cluster": "other"}
	if err := i.asCaject(t).Create(t.Context(), restored); err != nil {
		t.Fatal(err)
	}
	i.create(t, playground.NewSecret(namespace, "moved", ca))
	if err := i.run(t, "caject.log").WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "begun anew", func(ctx context.Context) error {
		published, err := playground.Published(ctx, i.client)
		if err != nil {
			return err
		}
		if words := published["secret/e2e/moved"]; len(words) > 0 && words[0] == base64.StdEncoding.EncodeToString(foreign) {
			return errors.New("the foreign bundle is still published")
		}
		return nil
	})
	target := playground.NewValidating("moved", 1, playground.FromSecret(namespace, "moved"))
	i.create(t, target)
	i.filled(t, target, ca)
	i.policiesRead(t, "secret/e2e/moved", ca)
}

// TestUninstallRemovesTheShards has the garbage collector of Kubernetes' controller manager at work.
func TestUninstallRemovesTheShards(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	collector, err := i.control.StartGarbageCollector(filepath.Join(t.TempDir(), "gc.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = collector.Stop() })
	ca := playground.NewCA("uninstall")
	target := playground.NewValidating("uninstall", 1, playground.FromSecret(namespace, "uninstall"))
	i.create(t, playground.NewSecret(namespace, "uninstall", ca), playground.NewSecret(namespace, "unnamed", ca), target)
	i.policiesRead(t, "secret/e2e/uninstall", ca)
	i.policiesRead(t, "secret/e2e/unnamed", ca)
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := i.control.Helm(t.Context(), "uninstall", "caject", "--namespace", playground.Namespace); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no shard is left", func(ctx context.Context) error {
		left, err := playground.Shards(ctx, i.client)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d are", len(left))
		}
		return err
	})
	if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(target), target); err != nil {
		t.Fatal(err)
	}
	if err := playground.Holds(target, ca); err != nil {
		t.Errorf("the target: %v", err)
	}
}
