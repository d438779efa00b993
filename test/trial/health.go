package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// Healthy returns what is wrong with caject itself, or nil: each is ready and knows so many targets as right, besides its own
// configurations, no more and no less; the Secret holds a CA, and the configuration trusts it.
func (w *World) Healthy(ctx context.Context, targets int) error {
	for n, replica := range w.Replicas.All() {
		if !replica.Ready(ctx) {
			return fmt.Errorf("caject %d of %d is not ready", n+1, len(w.Replicas.All()))
		}
		known, err := injected(ctx, replica.MetricsPort)
		if err != nil {
			return err
		}
		if known != targets {
			return fmt.Errorf("caject %d of %d says that %d targets are injected, not %d", n+1, len(w.Replicas.All()), known, targets)
		}
	}
	secret := &corev1.Secret{}
	if err := w.Client.Get(ctx, client.ObjectKey{Namespace: playground.Namespace, Name: "caject-ca"}, secret); err != nil {
		return err
	}
	own := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := w.Client.Get(ctx, client.ObjectKey{Name: "caject"}, own); err != nil {
		return err
	}
	if ca := secret.Data["ca.crt"]; len(ca) == 0 || !bytes.Contains(own.Webhooks[0].ClientConfig.CABundle, ca) {
		return errors.New("the API server does not trust the CA in the Secret caject-ca")
	}
	return nil
}

// injected returns how many targets caject says it has filled, without its own configurations.
func injected(ctx context.Context, metricsPort int) (int, error) {
	families, err := playground.Metrics(ctx, metricsPort)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, metric := range families["caject_target_state"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		own := labels["name"] == "caject" || labels["name"] == "caject-hints"
		if !own && labels["state"] == "injected" && metric.GetGauge().GetValue() == 1 {
			n++
		}
	}
	return n, nil
}

// WaitHealthy returns once the census has nothing to say and caject is Healthy, or what is wrong when ctx ends.
func (w *World) WaitHealthy(ctx context.Context, census *Census, targets int) error {
	var before error
	for {
		err := census.Wrong(targets)
		if err == nil {
			err = w.healthyNow(ctx, targets)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil && before != nil {
			return before // what goes wrong now may be only that the time is over
		}
		before = err
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// healthyNow is Healthy for one that may not answer at all.
func (w *World) healthyNow(ctx context.Context, targets int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return w.Healthy(ctx, targets)
}
