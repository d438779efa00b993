package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// replicas runs n caject behind the Service until the test ends.
func (i *installation) replicas(t *testing.T, n int, args ...string) *playground.Replicas {
	t.Helper()
	replicas, err := playground.NewReplicas(i.Installation)
	if err != nil {
		t.Fatal(err)
	}
	var started []*playground.Replica
	t.Cleanup(func() {
		if err := replicas.Stop(); err != nil {
			t.Error(err)
		}
		for _, replica := range started {
			if t.Failed() {
				t.Logf("%s:\n%s", replica.Log, replica.ReadLog())
			}
		}
	})
	for range n {
		replica, err := replicas.Start(binary, i.control.Dir, args...)
		if err != nil {
			t.Fatal(err)
		}
		started = append(started, replica)
	}
	if err := replicas.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return replicas
}

// insist has the API server refuse what caject is not asked about.
func (i *installation) insist(t *testing.T) {
	t.Helper()
	fail := admissionregistrationv1.Fail
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
		if err := i.client.Get(t.Context(), client.ObjectKey{Name: "caject"}, configuration); err != nil {
			return err
		}
		configuration.Webhooks[0].FailurePolicy = &fail
		return i.client.Update(t.Context(), configuration)
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "insist", func(ctx context.Context) error { // until the API server knows
		return i.client.Create(ctx, playground.NewAPIService("insist", playground.FromSecret(namespace, "insist")), client.DryRunAll)
	})
}

// TestNotOneCallFailsWhileEverythingRotates has CA and leaves of two replicas last for seconds, and the API server insist on
// their answers.
func TestNotOneCallFailsWhileEverythingRotates(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	i.replicas(t, 2, "--ca-lifetime=18s", "--leaf-lifetime=6s", "--ca-trust-delay=1s")
	i.insist(t)
	ca := playground.NewCA("rotates")
	i.create(t, playground.NewSecret(namespace, "rotates", ca))
	cas, leaves, created := map[string]bool{}, map[string]bool{}, 0
	for began := time.Now(); time.Since(began) < time.Minute; created++ {
		// Each time over a new connection, or an old one would hide what a new one would find.
		crd := playground.NewCRD(fmt.Sprintf("rotates%04d", created), playground.FromSecret(namespace, "rotates"))
		if err := i.client.Create(t.Context(), crd, client.DryRunAll); err != nil {
			t.Fatalf("after %s, %d CAs and %d leaves: %v", time.Since(began), len(cas), len(leaves), err)
		}
		if err := playground.Holds(crd, ca); err != nil {
			t.Fatalf("after %s, %d CAs and %d leaves: %v", time.Since(began), len(cas), len(leaves), err)
		}
		secret := i.caSecret(t)
		cas[string(secret.Data["tls.crt"])] = true
		if trusted := strings.Count(string(secret.Data["ca.crt"]), "BEGIN"); trusted > 4 {
			t.Fatalf("%d CAs are trusted", trusted)
		}
		leaf, err := playground.Served(i.WebhookPort, secret.Data["ca.crt"])
		if err != nil {
			t.Fatalf("a new connection: %v", err)
		}
		leaves[leaf.SerialNumber.String()] = true
	}
	if len(cas) < 4 || len(leaves) < 12 {
		t.Errorf("in a minute there were %d CAs and %d leaves", len(cas), len(leaves))
	}
	t.Logf("%d creates with %d CAs and %d leaves", created, len(cas), len(leaves))
}

// TestManyThatStartTogetherAgreeOnOneCA starts ten at once with an empty Secret.
func TestManyThatStartTogetherAgreeOnOneCA(t *testing.T) {
	t.Parallel()
	i := own(t)
	i.replicas(t, 10)
	secret := i.caSecret(t)
	if n := strings.Count(string(secret.Data["ca.crt"]), "BEGIN"); n != 1 {
		t.Errorf("%d CAs are trusted", n)
	}
	i.filled(t, playground.NewMutating("caject", 0, nil), secret.Data["ca.crt"])
	for range 20 { // each of them, most likely
		if _, err := playground.Served(i.WebhookPort, secret.Data["tls.crt"]); err != nil {
			t.Error(err)
		}
	}
	i.works(t, "many")
}

// TestTheCASecretIsRepaired breaks it in every way while two replicas run, and the API server insists on their answers.
func TestTheCASecretIsRepaired(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	replicas := i.replicas(t, 2, "--ca-trust-delay=2s")
	i.insist(t)
	good := i.caSecret(t)
	restored := func(ctx context.Context) error {
		secret := &corev1.Secret{}
		if err := i.client.Get(ctx, client.ObjectKeyFromObject(good), secret); err != nil {
			return err
		}
		if string(secret.Data["tls.crt"]) != string(good.Data["tls.crt"]) || string(secret.Data["tls.key"]) != string(good.Data["tls.key"]) {
			return errors.New("it holds another CA, or none")
		}
		return nil
	}
	for sentence, damage := range map[string]func(*corev1.Secret){
		"emptied":         func(s *corev1.Secret) { s.Data = nil },
		"half of it":      func(s *corev1.Secret) { delete(s.Data, "tls.key") },
		"junk":            func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("junk") },
		"not trusted":     func(s *corev1.Secret) { s.Data["ca.crt"] = playground.NewCA("other") },
		"without opt-in":  func(s *corev1.Secret) { s.Annotations, s.Data = nil, nil },
		"of another kind": func(s *corev1.Secret) { s.Data = map[string][]byte{"password": []byte("x")} },
	} {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // caject writes it, too
			secret := i.caSecret(t)
			damage(secret)
			return i.client.Update(t.Context(), secret)
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, sentence+": restore", restored)
		i.event(t, i.caSecret(t), "CARestored")
		i.calledInVain(t, sentence)
	}
	// Deleted, and a new replica is faster than those that run: it waits for them.
	if err := i.client.Delete(t.Context(), good.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	third, err := replicas.Start(binary, i.control.Dir, "--ca-trust-delay=2s")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "deleted: restore", restored)
	if err := third.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := third.Logged("Made a CA"); n > 0 {
		t.Error("the new replica has made a CA of its own")
	}
	// Another good one is put there: it signs once it is trusted, and nobody fails meanwhile.
	other := own(t)
	other.run(t, "other.log")
	eventually(t, "another CA", func(ctx context.Context) error {
		taken := &corev1.Secret{}
		if err := other.client.Get(ctx, client.ObjectKeyFromObject(good), taken); err != nil || len(taken.Data) == 0 {
			return fmt.Errorf("none yet (%v)", err)
		}
		secret := i.caSecret(t)
		secret.Data = taken.Data
		return i.client.Update(ctx, secret)
	})
	taken := i.caSecret(t)
	eventually(t, "serve the other CA's leaf", func(context.Context) error {
		i.calledInVain(t, "another CA")
		for range 6 {
			if _, err := playground.Served(i.WebhookPort, taken.Data["tls.crt"]); err != nil {
				return err
			}
		}
		return nil
	})
	if got := strings.Count(string(i.caSecret(t).Data["ca.crt"]), "BEGIN"); got != 2 {
		t.Errorf("%d CAs are trusted, not the one before and the one that was put there", got)
	}
}

// calledInVain fails the test if the API server cannot call caject.
func (i *installation) calledInVain(t *testing.T, sentence string) {
	t.Helper()
	probe := playground.NewAPIService("probe", playground.FromSecret(namespace, "probe"))
	if err := i.client.Create(t.Context(), probe, client.DryRunAll); err != nil {
		t.Errorf("%s: %v", sentence, err)
	}
}
