package field

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

const (
	// many is how many CRDs are rotated. While each waited for the webhook's time-out, twenty took 23 s.
	many = 20
	// soon is far below that, and generous: without a webhook they take two or three seconds.
	soon = 15 * time.Second
	// quickInterval is the resync's where no hint arrives.
	quickInterval = 2 * time.Second
	// noticed is within what time the log says something that caject only says once it lasts.
	noticed = 90 * time.Second

	unreached = "The API server does not reach the webhook"
	reached   = "The API server reaches the webhook again"
)

// crds makes a source and many CRDs that name it.
func (f *field) crds(t *testing.T, name string) (source *corev1.Secret, all []client.Object) {
	t.Helper()
	source = playground.NewSecret(trial.Namespace, name, playground.NewCA(name))
	f.create(t, source)
	for n := range many {
		all = append(all, playground.NewCRD(fmt.Sprintf("%s%d", name, n), playground.FromSecret(trial.Namespace, name)))
	}
	f.create(t, all...)
	f.all(t, timeout, all, source.Data["ca.crt"])
	return source, all
}

// all fails the test unless each of objects holds ca, among others, within limit. It returns how long that took.
func (f *field) all(t *testing.T, limit time.Duration, objects []client.Object, ca []byte) time.Duration {
	t.Helper()
	began := time.Now()
	within(t, limit, "fill all", func(ctx context.Context) error {
		for _, object := range objects {
			if err := f.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
				return err
			}
			if held := playground.CABundles(object)[0]; !bytes.Contains(held, ca) { // beside those of before
				return fmt.Errorf("%s has only %d certificates", object.GetName(), bytes.Count(held, []byte("BEGIN")))
			}
		}
		return nil
	})
	return time.Since(began)
}

// rotateAll gives source another CA, which all objects must hold soon.
func (f *field) rotateAll(t *testing.T, source *corev1.Secret, all []client.Object, what string) {
	t.Helper()
	ca := playground.NewCA(what)
	f.rotate(t, source, ca)
	t.Logf("%s: %d CRDs were rotated within %s", what, len(all), f.all(t, soon, all, ca).Round(time.Millisecond))
}

// logged returns how many lines of all replicas' logs hold all of words.
func (f *field) logged(words ...string) (lines int) {
	for _, replica := range f.Replicas.All() {
		lines += replica.Logged(words...)
	}
	return lines
}

// says waits until a log says words, and fails the test if a replica says them more than once: each finds out for itself.
func (f *field) says(t *testing.T, words ...string) {
	t.Helper()
	within(t, noticed, "say "+strings.Join(words, " … "), func(context.Context) error {
		if f.logged(words...) == 0 {
			return errors.New("it is not said")
		}
		return nil
	})
	for _, replica := range f.Replicas.All() {
		if n := replica.Logged(words...); n > 1 {
			t.Errorf("%q is said %d times", words, n)
		}
	}
}

// served waits until at least one replica, or none, serves something but 0 for a metric without labels.
func (f *field) served(t *testing.T, name string, some bool) {
	t.Helper()
	within(t, noticed, "serve "+name, func(context.Context) error {
		if n := f.sum(t, name); (n > 0) != some {
			return fmt.Errorf("the sum over all replicas is %v", n)
		}
		return nil
	})
}

// sum returns the sum of a metric without labels over all replicas.
func (f *field) sum(t *testing.T, name string) (sum float64) {
	t.Helper()
	for _, replica := range f.Replicas.All() {
		families, err := playground.Metrics(t.Context(), replica.MetricsPort)
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range families[name].GetMetric() {
			sum += metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return sum
}

// quiet fails the test if anything is written while nothing changes.
func (f *field) quiet(t *testing.T) {
	t.Helper()
	q, err := f.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Settle(t.Context(), f.Control, 5*time.Second, timeout); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Watch(t.Context(), f.Control, 10*time.Second); err != nil {
		t.Error(err)
	}
}

// closed has the way to the replicas be another one for a while, and a source rotated meanwhile, before and afterwards. cause is part
// of what caject takes for the cause.
func (f *field) closed(t *testing.T, way playground.Way, cause string) {
	t.Helper()
	source, all := f.crds(t, "uncalled")
	f.rotateAll(t, source, all, "the way is open")
	f.Replicas.SetWay(way)
	f.rotateAll(t, source, all, "the way has just been closed")
	f.says(t, unreached)
	within(t, noticed, "say why", func(context.Context) error {
		if f.logged(cause) == 0 {
			return fmt.Errorf("no log has %q", cause)
		}
		return nil
	})
	f.served(t, "caject_webhook_unreached", true)
	f.rotateAll(t, source, all, "the way is closed")
	f.Replicas.SetWay(playground.Open)
	f.says(t, reached)
	f.served(t, "caject_webhook_unreached", false)
	f.rotateAll(t, source, all, "the way is open again")
	f.says(t, unreached)
	f.quiet(t)
}

// "failed calling webhook … context deadline exceeded": on private clusters a firewall is between the API server and the pods
// (open-telemetry/opentelemetry-operator#100, chaos-mesh/chaos-mesh#1228), and the failurePolicy Ignore lets nobody see it.
func TestTheAPIServerDoesNotReachTheWebhook(t *testing.T) {
	t.Parallel()
	for _, way := range []playground.Way{playground.Silent, playground.Refused} {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			f := own(t, false, "resyncInterval="+quickInterval.String())
			f.closed(t, way, "calls do not arrive, or are not answered in time")
		})
	}
}

// The policies fill CRDs here, and caject needs nothing of the webhook: all the same, each write of one waits for it.
func TestPoliciesFillAndTheWebhookIsNotReached(t *testing.T) {
	t.Parallel()
	f := own(t, true)
	f.Replicas.SetWay(playground.Silent)
	ca := playground.NewCA("waits")
	f.create(t, playground.NewSecret(trial.Namespace, "waits", ca))
	object := playground.NewCRD("waits", playground.FromSecret(trial.Namespace, "waits"))
	f.create(t, object)
	f.filled(t, object, ca)
	f.says(t, unreached)
	f.Replicas.SetWay(playground.Open)
	f.says(t, reached)
	f.quiet(t)
}

// "tls: client offered only unsupported versions": the API server speaks TLS 1.2 only, as with Go's FIPS mode, and the webhook wants 1.3
// (kubernetes-sigs/aws-load-balancer-controller#3313).
func TestTheAPIServerSpeaksOlderTLS(t *testing.T) {
	t.Parallel()
	f := own(t, false, "resyncInterval="+quickInterval.String(), "webhook.tlsMinVersion=VersionTLS13")
	f.closed(t, playground.OldTLS, "client offered only unsupported versions")
	if f.sum(t, "caject_webhook_failed_handshakes_total") == 0 {
		t.Error("no failed handshake is counted")
	}
	for _, replica := range f.Replicas.All() {
		if n := replica.Logged("TLS handshakes of callers fail"); n > 1 {
			t.Errorf("it is said %d times", n)
		}
	}
}

// "Unauthorized": the ServiceAccount was deleted and made again, under the same name, and the pods' tokens belong to the former one
// (kubernetes/kubernetes#106049).
func TestTheServiceAccountWasMadeAnew(t *testing.T) {
	t.Parallel()
	f := own(t, true)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: playground.Namespace, Name: "caject"}}
	if err := f.Client.Delete(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	account.ResourceVersion, account.UID = "", ""
	if err := f.Client.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	const remedy = "restart the pods"
	for _, replica := range f.Replicas.All() {
		within(t, noticed, "be unready, and say why", func(ctx context.Context) error {
			status, body, err := readyz(ctx, replica)
			if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, remedy)) {
				err = fmt.Errorf("/readyz says %d %s", status, body)
			}
			return err
		})
		if n := replica.Logged(remedy); n != 1 {
			t.Errorf("the log says %d times what to do", n)
		}
	}

	if err := f.Control.WriteKubeconfig(t.Context(), playground.Namespace, "caject", f.Installation.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	for _, replica := range f.Replicas.All() {
		if err := f.Replicas.StopGently(replica); err != nil {
			t.Error(err)
		}
		if _, err := f.Start(); err != nil {
			t.Fatal(err)
		}
	}
	ready, cancel := context.WithTimeout(t.Context(), noticed)
	defer cancel()
	if err := f.Replicas.WaitReady(ready); err != nil {
		t.Fatal(err)
	}
	f.crds(t, "anew")
	if f.logged(remedy) > 0 {
		t.Error("a replica with a new token is rejected, too")
	}
}

// readyz returns what a replica's /readyz says.
func readyz(ctx context.Context, replica *playground.Replica) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://localhost:%d/readyz", replica.HealthPort), nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}
