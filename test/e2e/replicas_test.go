package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// holder returns who holds the Lease.
func (i *installation) holder(ctx context.Context) (string, error) {
	lease := &coordinationv1.Lease{}
	if err := i.client.Get(ctx, client.ObjectKey{Namespace: playground.Namespace, Name: "caject"}, lease); err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", errors.New("nobody holds the Lease")
	}
	return *lease.Spec.HolderIdentity, nil
}

// TestNothingDependsOnTheLeader has the leader killed, and the next one frozen, and has what they should do done by the other
// while the Lease is still theirs.
func TestNothingDependsOnTheLeader(t *testing.T) {
	t.Parallel()
	for sentence, signal := range map[string]os.Signal{"killed": syscall.SIGKILL, "frozen": syscall.SIGSTOP} {
		t.Run(sentence, func(t *testing.T) {
			i := own(t)
			replicas := i.replicas(t, 1)
			eventually(t, "lead", func(ctx context.Context) error { _, err := i.holder(ctx); return err })
			leader := replicas.All()[0]
			before, err := i.holder(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := replicas.Start(binary, i.control.Dir); err != nil {
				t.Fatal(err)
			}
			if err := replicas.WaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := leader.Signal(signal); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = leader.Signal(syscall.SIGCONT) }) // before it is told to end
			began, ca := time.Now(), playground.NewCA("orphan")
			i.create(t, playground.NewSecret(namespace, "orphan", ca))
			target := playground.NewValidating("orphan", 2, playground.FromSecret(namespace, "orphan"))
			i.create(t, target)
			i.filled(t, target, ca)
			took := time.Since(began)
			after, err := i.holder(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("filled %s after it was created; the leader has changed meanwhile: %v", took, after != before)
			eventually(t, "another leader", func(ctx context.Context) error {
				now, err := i.holder(ctx)
				if err == nil && now == before {
					err = errors.New("it is still the one before")
				}
				return err
			})
			i.works(t, "after"+sentence)
		})
	}
}

// TestALeaderThatEndsReleasesTheLease stops it as a kubelet does.
func TestALeaderThatEndsReleasesTheLease(t *testing.T) {
	t.Parallel()
	i := own(t)
	replicas := i.replicas(t, 2)
	before := ""
	eventually(t, "lead", func(ctx context.Context) (err error) { before, err = i.holder(ctx); return err })
	for _, replica := range replicas.All() {
		if err := replicas.StopGently(replica); err != nil {
			t.Fatal(err)
		}
		holder, err := i.holder(t.Context())
		if err == nil && holder == before {
			continue // it was the other one
		}
		return // released, or even taken over by now
	}
	t.Errorf("both have ended, and %s still holds the Lease", before)
}

// TestARollingRestartUnderLoadIsNotNoticed replaces both replicas, several times, while the API server insists on their answers.
func TestARollingRestartUnderLoadIsNotNoticed(t *testing.T) {
	t.Parallel()
	i := own(t)
	replicas := i.replicas(t, 2)
	i.insist(t)
	ca := playground.NewCA("rolling")
	i.create(t, playground.NewSecret(namespace, "rolling", ca))
	var created atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for worker := range 2 {
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
				crd := playground.NewCRD(fmt.Sprintf("rolling%dn%05d", worker, n), playground.FromSecret(namespace, "rolling"))
				err := i.client.Create(t.Context(), crd, client.DryRunAll)
				if err == nil {
					err = playground.Holds(crd, ca)
				}
				if err != nil {
					done <- fmt.Errorf("%w (warnings: %q)", err, i.warnings.about("caject"))
					return
				}
				created.Add(1)
			}
			done <- nil
		}()
	}
	for range 3 {
		for _, replica := range replicas.All() {
			if _, err := replicas.Start(binary, i.control.Dir); err != nil {
				t.Fatal(err)
			}
			if err := replicas.WaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := replicas.StopGently(replica); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	if err := errors.Join(<-done, <-done); err != nil {
		t.Errorf("after %d creates: %v", created.Load(), err)
	}
	t.Logf("%d creates while six replicas were replaced", created.Load())
}
