package apiservers

import (
	"context"
	"fmt"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

const (
	// trustDelay is how long each CA of caject's has been in its configurations before it signs what is served.
	trustDelay = 5 * time.Second
	// behind is how much later one API server learns of that than caject does.
	behind = 2 * time.Second
	// rotating is for how long calls are made.
	rotating = 50 * time.Second
)

// TestNotOneCallFailsWhileAnAPIServerIsBehind has CA and leaves last for seconds, and API servers that insist on caject's answers. One of
// them learns of each change some seconds later than caject, which asks the other one, but within --ca-trust-delay.
func TestNotOneCallFailsWhileAnAPIServerIsBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, "--ca-lifetime=30s", "--leaf-lifetime=9s", "--ca-trust-delay="+trustDelay.String())
	if err := r.APIServers.Gather(t.Context(), r.APIServers.All()[0], replicas); err != nil {
		t.Fatal(err)
	}
	r.insist(t)
	r.last().SetLag(behind)
	calls, cas := 0, map[string]bool{}
	for began := time.Now(); time.Since(began) < rotating; calls++ {
		for n, api := range r.Clients {
			object := playground.NewCRD(fmt.Sprintf("trusts%d-%04d", n, calls), playground.FromSecret(trial.Namespace, "none"))
			if err := api.Create(t.Context(), object, client.DryRunAll); err != nil {
				t.Fatalf("API server %d, after %s, %d calls and %d CAs: %v", n, time.Since(began), calls, len(cas), err)
			}
			// It may have called over a connection of before.
			if err := r.trusted(t.Context(), api); err != nil {
				t.Fatalf("API server %d, after %s, %d calls and %d CAs, a new connection: %v", n, time.Since(began), calls, len(cas), err)
			}
		}
		secret := &corev1.Secret{}
		if err := r.Client.Get(t.Context(), client.ObjectKey{Namespace: playground.Namespace, Name: "caject-ca"}, secret); err != nil {
			t.Fatal(err)
		}
		cas[string(secret.Data["tls.crt"])] = true
	}
	if len(cas) < 3 {
		t.Errorf("%d CAs have signed", len(cas))
	}
	t.Logf("%d calls by each API server, %d CAs", calls, len(cas))
}

// trusted returns an error if what caject serves is not trusted by an API server, as far as it knows by now.
func (r *rig) trusted(ctx context.Context, api client.Client) error {
	known := &admissionregistrationv1.MutatingWebhookConfiguration{}
	cached := &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}}
	if err := api.Get(ctx, client.ObjectKey{Name: "caject"}, known, cached); err != nil {
		return err
	}
	_, err := playground.Served(r.Installation.WebhookPort, known.Webhooks[0].ClientConfig.CABundle)
	return err
}

// insist has the API servers refuse what caject is not asked about.
func (r *rig) insist(t *testing.T) {
	t.Helper()
	fail := admissionregistrationv1.Fail
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
		if err := r.Client.Get(t.Context(), client.ObjectKey{Name: "caject"}, configuration); err != nil {
			return err
		}
		configuration.Webhooks[0].FailurePolicy = &fail
		return r.Client.Update(t.Context(), configuration)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, api := range r.Clients { // until each knows, and is answered
		err := playground.Eventually(t.Context(), patience, 100*time.Millisecond, func(ctx context.Context) error {
			return api.Create(ctx, playground.NewAPIService("insist", playground.FromSecret(trial.Namespace, "none")), client.DryRunAll)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
