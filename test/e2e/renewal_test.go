package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

const (
	renewAnnotation    = "caject.io/renew-ca"
	distrustAnnotation = "caject.io/distrust"
)

// fingerprint returns that of the one certificate in encoded (PEM).
func fingerprint(t *testing.T, encoded []byte) string {
	t.Helper()
	block, _ := pem.Decode(encoded)
	if block == nil {
		t.Fatalf("not a certificate: %q", encoded)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// annotateCA sets an annotation of the Secret with caject's own CA.
func (i *installation) annotateCA(t *testing.T, name, value string) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret := i.caSecret(t)
		secret.Annotations[name] = value
		return i.client.Update(t.Context(), secret)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNotOneCallFailsWhileALeakedCAIsReplaced asks two replicas for a new CA, and has both replaced on the way.
func TestNotOneCallFailsWhileALeakedCAIsReplaced(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	args := []string{"--ca-trust-delay=2s"}
	replicas := i.replicas(t, 2, args...)
	i.insist(t)
	ca := playground.NewCA("renews")
	i.create(t, playground.NewSecret(namespace, "renews", ca))
	leaked := i.caSecret(t)
	called := 0
	call := func() {
		t.Helper()
		crd := playground.NewCRD(fmt.Sprintf("renews%04d", called), playground.FromSecret(namespace, "renews"))
		if err := i.client.Create(t.Context(), crd, client.DryRunAll); err != nil {
			t.Fatalf("after %d calls: %v", called, err)
		}
		if err := playground.Holds(crd, ca); err != nil {
			t.Fatalf("after %d calls: %v", called, err)
		}
		if _, err := playground.Served(i.WebhookPort, i.caSecret(t).Data["ca.crt"]); err != nil {
			t.Fatalf("after %d calls, a new connection: %v", called, err)
		}
		called++
	}
	// until calls until the Secret is as wanted.
	until := func(what string, condition func(*corev1.Secret) bool) *corev1.Secret {
		t.Helper()
		for began := time.Now(); time.Since(began) < 3*time.Minute; {
			call()
			if secret := i.caSecret(t); condition(secret) {
				return secret
			}
		}
		t.Fatalf("%s: it takes too long; the annotations are %v", what, i.caSecret(t).Annotations)
		return nil
	}
	call()
	i.annotateCA(t, renewAnnotation, "2026-06-01, ticket 7")
	asked := time.Now()
	made := until("make the next CA", func(s *corev1.Secret) bool {
		return len(s.Data["next.crt"]) > 0 || string(s.Data["tls.crt"]) != string(leaked.Data["tls.crt"])
	})
	i.event(t, made, "CARenewing")
	for _, replica := range replicas.All() { // the request survives this
		if _, err := replicas.Start(binary, i.control.Dir, args...); err != nil {
			t.Fatal(err)
		}
		if err := replicas.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := replicas.StopGently(replica); err != nil {
			t.Fatal(err)
		}
		call()
	}
	until("have it sign", func(s *corev1.Secret) bool { return string(s.Data["tls.crt"]) != string(leaked.Data["tls.crt"]) })
	signed := time.Now()
	done := until("withdraw the former one", func(s *corev1.Secret) bool { return s.Annotations[renewAnnotation] == "" })
	i.event(t, done, "CAWithdrawn")
	t.Logf("it signed after %s, and the former one was withdrawn %s later; %d calls", signed.Sub(asked), time.Since(signed), called)
	if got, want := done.Annotations[distrustAnnotation], fingerprint(t, leaked.Data["tls.crt"]); got != want {
		t.Errorf("distrusted is %q, not %q", got, want)
	}
	if n := strings.Count(string(done.Data["ca.crt"]), "BEGIN"); n != 1 || string(done.Data["ca.crt"]) != string(done.Data["tls.crt"]) {
		t.Errorf("%d CAs are trusted: %q", n, done.Data["ca.crt"])
	}
	for range 10 {
		if _, err := playground.Served(i.WebhookPort, done.Data["tls.crt"]); err != nil {
			t.Error(err)
		}
		call()
	}
	// What was withdrawn does not come back with the Secret.
	if err := i.client.Delete(t.Context(), done.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "restore", func(ctx context.Context) error {
		secret := &corev1.Secret{}
		switch err := i.client.Get(ctx, client.ObjectKeyFromObject(done), secret); {
		case err != nil:
			return err
		case string(secret.Data["ca.crt"]) != string(done.Data["ca.crt"]):
			return errors.New("it holds other CAs, or none")
		case secret.Annotations[distrustAnnotation] != done.Annotations[distrustAnnotation]:
			return fmt.Errorf("the annotations are %v", secret.Annotations)
		}
		return nil
	})
	call()
}
