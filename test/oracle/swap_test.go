package oracle

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// timeout is generous: a Lease that nobody releases is free only after a minute.
const timeout = 2 * time.Minute

// eventually fails the test unless condition returns nil in time.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	if err := playground.Eventually(t.Context(), timeout, 20*time.Millisecond, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// targets makes one target of each kind that names Secret oracle/name.
func targets(name string) []client.Object {
	annotations := playground.FromSecret(namespace, name)
	return []client.Object{
		playground.NewCRD(name, annotations), playground.NewAPIService(name+"api", annotations),
		playground.NewValidating(name, 2, annotations), playground.NewMutating(name, 1, annotations),
	}
}

// create creates objects.
func (w *world) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := w.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// filled fails the test unless all of targets get to hold want in each caBundle.
func (w *world) filled(t *testing.T, targets []client.Object, want content) {
	t.Helper()
	for _, target := range targets {
		eventually(t, fmt.Sprintf("fill %T %s", target, target.GetName()), func(ctx context.Context) error {
			if err := w.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
				return err
			}
			for _, bundle := range playground.CABundles(target) {
				if string(bundle) != string(want.bytes()) {
					return fmt.Errorf("it holds %s, not %s", spell([][]byte{bundle}), want)
				}
			}
			return nil
		})
	}
}

// rotate gives Secret oracle/name another CA.
func (w *world) rotate(t *testing.T, name string, ca content) {
	t.Helper()
	s := &stage{Context: t.Context(), world: w}
	if err := s.setCA(name, ca); err != nil {
		t.Fatal(err)
	}
}

// running starts an injector until the test ends, or the process is stopped before.
func running(t *testing.T, start func(args ...string) (*playground.Process, error), args ...string) *playground.Process {
	t.Helper()
	process, err := start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", process.Log, tail(process.ReadLog()))
		}
	})
	return process
}

// swapped starts the program caject in the place of cainjector: with the arguments and the ServiceAccount that
// cert-manager's chart gives that one. Beside them it is only told not to listen where other tests do.
func (w *world) deploySwapped(t *testing.T, program string, values ...string) func(args ...string) (*playground.Process, error) {
	t.Helper()
	start, err := w.deployCainjector(t.Context(), program, values...)
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (*playground.Process, error) {
		return start(append(args, "--health-listen-address=0")...)
	}
}

// holder returns who holds the Lease.
func (w *world) holder(ctx context.Context) (string, error) {
	lease := &coordinationv1.Lease{}
	err := w.client.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "cert-manager-cainjector-leader-election"}, lease)
	if err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", errors.New("nobody holds the Lease")
	}
	return *lease.Spec.HolderIdentity, nil
}

// TestImageSwap runs the program caject in the place of cainjector, and back.
func TestImageSwap(t *testing.T) {
	t.Parallel()
	w := empty(t)
	caject := w.deploySwapped(t, cajectProgram)
	peer, err := w.deployCainjector(t.Context(), cainjectorProgram)
	if err != nil {
		t.Fatal(err)
	}

	// cainjector is at work.
	before := running(t, peer)
	w.create(t, playground.NewSecret(namespace, "old", content("A").bytes()))
	old := targets("old")
	w.create(t, old...)
	w.filled(t, old, "A")
	first, err := w.holder(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	// A rolling update starts the new one before the old one ends. It waits.
	swapped := running(t, caject)
	eventually(t, "wait for the Lease", func(context.Context) error {
		if swapped.Logged("ttempting to acquire leader lease") == 0 {
			return errors.New("it does not try to get it")
		}
		return nil
	})
	w.rotate(t, "old", "B")
	w.filled(t, old, "A B")
	if now, err := w.holder(t.Context()); err != nil || now != first {
		t.Errorf("the Lease was %s's, is %s's (%v)", first, now, err)
	}
	if n := swapped.Logged("msg=Injected"); n > 0 {
		t.Errorf("both were at work: caject injected %d times", n)
	}

	// The old one ends; caject takes over, and does all kinds and sources.
	if err := before.Stop(); err != nil {
		t.Fatal(err)
	}
	w.rotate(t, "old", "C")
	w.filled(t, old, "A B C")
	if now, err := w.holder(t.Context()); err != nil || now == first {
		t.Errorf("the Lease is still %s's (%v)", now, err)
	}
	w.create(t, playground.NewSecret(namespace, "new", content("A").bytes()))
	fresh := targets("new")
	w.create(t, fresh...)
	w.filled(t, fresh, "A")
	issued := playground.NewSecret(namespace, "issued", content("D").bytes())
	issued.Annotations = map[string]string{cabundle.CertificateNameAnnotation: "issued"}
	fromCertificate := targets("issued")
	for _, target := range fromCertificate {
		target.SetAnnotations(map[string]string{cabundle.InjectCAFromAnnotation: namespace + "/issued"})
	}
	w.create(t, append(fromCertificate, issued, newCertificate("issued"))...)
	w.filled(t, fromCertificate, "D")
	missing := playground.NewValidating("missing", 1, playground.FromSecret(namespace, "missing"))
	w.create(t, missing)
	eventually(t, "an Event", func(ctx context.Context) error {
		events, err := playground.EventsOn(ctx, w.client, missing)
		if err == nil && !slices.ContainsFunc(events, func(e corev1.Event) bool { return e.Reason == "SourceNotFound" }) {
			err = errors.New("there is none")
		}
		return err
	})
	if n := swapped.Logged("level=ERROR"); n > 0 {
		t.Errorf("%d errors are logged:\n%s", n, swapped.ReadLog())
	}

	// And back.
	if err := swapped.Stop(); err != nil {
		t.Fatal(err)
	}
	running(t, peer)
	w.rotate(t, "new", "B")
	w.filled(t, fresh, "A B")
}

// TestWhoLosesTheLeaseEnds has somebody else take the Lease from caject in the place of cainjector.
func TestWhoLosesTheLeaseEnds(t *testing.T) {
	t.Parallel()
	w := empty(t)
	caject := w.deploySwapped(t, cajectProgram)
	process := running(t, caject, "--leader-election-lease-duration=3s", "--leader-election-renew-deadline=2s", "--leader-election-retry-period=500ms")
	w.create(t, playground.NewSecret(namespace, "lost", content("A").bytes()))
	before := targets("lost")
	w.create(t, before...)
	w.filled(t, before, "A")

	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		lease := &coordinationv1.Lease{}
		if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: "cert-manager-cainjector-leader-election"}, lease); err != nil {
			return err
		}
		thief, now, long := "thief", metav1.NowMicro(), int32(3600)
		lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &thief, &now, &long
		return w.client.Update(t.Context(), lease)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); err == nil {
		t.Error("it ended with exit code 0")
	}
	if process.Logged("caject: leader election lost") != 1 {
		t.Errorf("it does not say why it ended:\n%s", tail(process.ReadLog()))
	}
	if now, err := w.holder(t.Context()); err != nil || now != "thief" {
		t.Errorf("the Lease is %s's (%v)", now, err)
	}
}

// TestSwapWithConfigFile runs caject with the configuration file that cert-manager's chart makes.
func TestSwapWithConfigFile(t *testing.T) {
	t.Parallel()
	w := empty(t)
	values := []string{
		"cainjector.config.logging.format=json",
		"cainjector.config.logging.verbosity=1",
		"cainjector.config.leaderElectionConfig.namespace=kube-system",
		"cainjector.config.ignoreNamespaces={elsewhere}",
		"cainjector.config.enableInjectableConfig.apiServices=false",
		"cainjector.config.featureGates.CAInjectorMerging=false",
	}
	start := w.deploySwapped(t, cajectProgram, values...)
	rendered, err := w.control.RenderCertManager(t.Context(), []string{"cainjector-config"}, values...)
	if err != nil {
		t.Fatal(err)
	}
	var configMap corev1.ConfigMap
	if err := yaml.Unmarshal([]byte(rendered), &configMap); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(configMap.Data["config.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}

	process := running(t, start, "--config="+file) // behind that of the chart, whose path is in the pod
	if !strings.Contains(strings.Join(process.Args(), " "), "--config=/var/cert-manager/config/config.yaml") {
		t.Errorf("the chart does not pass a configuration file: %v", process.Args())
	}
	w.create(t, playground.NewSecret(namespace, "one", content("A").bytes()), playground.NewSecret("elsewhere", "one", content("A").bytes()))
	inside := targets("one")
	apiService := inside[1]
	inside = slices.Delete(inside, 1, 2)
	outside := playground.NewValidating("outside", 1, playground.FromSecret("elsewhere", "one"))
	w.create(t, append(inside, apiService, outside)...)
	w.filled(t, inside, "A")
	w.rotate(t, "one", "B")
	w.filled(t, inside, "B") // not merged
	w.filled(t, []client.Object{apiService, outside}, "")
	if process.Logged(`"level":"INFO"`) == 0 {
		t.Errorf("the log is not JSON:\n%s", tail(process.ReadLog()))
	}
}

// TestCoexistence runs cainjector and caject on the same objects.
func TestCoexistence(t *testing.T) {
	t.Parallel()
	w := empty(t)
	peer, err := w.deployCainjector(t.Context(), cainjectorProgram)
	if err != nil {
		t.Fatal(err)
	}
	caject, err := w.deployCaject(t.Context(), cajectProgram)
	if err != nil {
		t.Fatal(err)
	}
	running(t, peer)
	running(t, caject)

	// What each of them has its own way with: comments, expired certificates, placeholders.
	var all []client.Object
	for i, ca := range []content{"A", "# A # B", "A cut", "X A", "A A"} {
		name := fmt.Sprintf("both%d", i)
		w.create(t, playground.NewSecret(namespace, name, ca.bytes()))
		for j, held := range []content{"", "nl", "B", "A #", "A crlf", "X B", "A X"} {
			for _, target := range targets(fmt.Sprintf("%sx%d", name, j)) {
				target.SetAnnotations(playground.FromSecret(namespace, name))
				playground.SetCABundles(target, held.bytes())
				w.create(t, target)
				all = append(all, target)
			}
		}
	}
	still := func(what string, ca string) {
		t.Helper()
		for _, target := range all {
			eventually(t, "fill "+target.GetName(), func(ctx context.Context) error {
				if err := w.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
					return err
				}
				for _, bundle := range playground.CABundles(target) {
					if !strings.Contains(string(bundle), strings.TrimSpace(string(certificates[ca]))) {
						return fmt.Errorf("%s is not in it", ca)
					}
				}
				return nil
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		// Ten times the interval of caject's periodic loop.
		if err := w.quiet(ctx, 10*time.Second); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	still("after the start", "A")
	for i := range 5 {
		w.rotate(t, fmt.Sprintf("both%d", i), "C # D")
	}
	still("after a rotation", "C")
}

// TestTakingOver has caject go on where cainjector has left off.
func TestTakingOver(t *testing.T) {
	t.Parallel()
	w := empty(t)
	start, err := w.deployCainjector(t.Context(), cainjectorProgram)
	if err != nil {
		t.Fatal(err)
	}
	peer := running(t, start)
	w.create(t, playground.NewSecret(namespace, "left", content("A").bytes()))
	all := targets("left")
	w.create(t, all...)
	w.filled(t, all, "A")
	if err := peer.Stop(); err != nil {
		t.Fatal(err)
	}
	// An old one, of before server-side apply, has left entries of Updates.
	old := targets("leftold")
	for _, target := range old {
		target.SetAnnotations(playground.FromSecret(namespace, "left"))
		w.create(t, target)
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
			if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(target), target); err != nil {
				return err
			}
			playground.SetCABundles(target, content("A").bytes())
			return w.client.Update(t.Context(), target, client.FieldOwner(peerManager))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range append(slices.Clone(all), old...) {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(target), target); err != nil {
			t.Fatal(err)
		}
		if !owns(target, peerManager) {
			t.Fatalf("%s %T: cainjector owns no caBundle: %v", target.GetName(), target, target.GetManagedFields())
		}
	}
	all = append(all, old...)

	// From here on, no target may lose its bundle for a moment.
	ctx, cancel := context.WithCancel(t.Context())
	gaps := make(chan error, 1)
	sampled := make([]client.Object, len(all))
	for i, target := range all {
		sampled[i] = target.DeepCopyObject().(client.Object)
	}
	go func() { gaps <- w.watchForGaps(ctx, sampled) }()

	startCaject, err := w.deployCaject(t.Context(), cajectProgram)
	if err != nil {
		t.Fatal(err)
	}
	running(t, startCaject)
	w.rotate(t, "left", "B")
	w.filled(t, all, "A B")
	for _, target := range all {
		eventually(t, "disown "+target.GetName(), func(ctx context.Context) error {
			if err := w.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
				return err
			}
			if owns(target, peerManager) {
				return fmt.Errorf("%T: cainjector still owns the caBundle: %v", target, target.GetManagedFields())
			}
			return nil
		})
	}
	cancel()
	if err := <-gaps; err != nil {
		t.Error(err)
	}
}

const peerManager = "cert-manager-cainjector"

// owns reports that a field manager owns a caBundle of object.
func owns(object client.Object, manager string) bool {
	return slices.ContainsFunc(object.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == manager && strings.Contains(e.FieldsV1.GetRawString(), `"f:caBundle"`)
	})
}

// watchForGaps reads targets again and again. It returns an error once one of them has lost its bundle, and nil when ctx
// ends.
func (w *world) watchForGaps(ctx context.Context, targets []client.Object) error {
	for ctx.Err() == nil {
		for _, target := range targets {
			if err := w.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
				continue // the end
			}
			for _, bundle := range playground.CABundles(target) {
				if !strings.Contains(string(bundle), string(certificates["A"])) {
					return fmt.Errorf("%s lost its bundle", target.GetName())
				}
			}
		}
	}
	return nil
}

// TestMetricsOverTLS serves metrics with a certificate of a CA in a Secret, as cert-manager's chart sets it up, and with
// one from files; and profiles.
func TestMetricsOverTLS(t *testing.T) {
	t.Parallel()
	w := empty(t)
	var metricsPort, profilerPort int
	if err := playground.FreePorts(&metricsPort, &profilerPort); err != nil {
		t.Fatal(err)
	}
	start := w.deploySwapped(t, cajectProgram,
		"cainjector.config.metricsTLSConfig.dynamic.secretNamespace=cert-manager",
		"cainjector.config.metricsTLSConfig.dynamic.secretName=metrics-ca",
		"cainjector.extraArgs={--metrics-dynamic-serving-dns-names=localhost}")
	listen := fmt.Sprintf("--metrics-listen-address=localhost:%d", metricsPort)
	empty := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(empty, []byte("apiVersion: cainjector.config.cert-manager.io/v1alpha1\nkind: CAInjectorConfiguration\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	process, err := start("--config="+empty, listen,
		"--metrics-dynamic-serving-ca-secret-namespace=cert-manager", "--metrics-dynamic-serving-ca-secret-name=metrics-ca",
		"--enable-profiling", fmt.Sprintf("--profiler-address=localhost:%d", profilerPort))
	if err != nil {
		t.Fatal(err)
	}
	get := func(url string, ca []byte) error {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		defer client.CloseIdleConnections()
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}
	metrics := fmt.Sprintf("https://localhost:%d/metrics", metricsPort)
	secret := &corev1.Secret{}
	eventually(t, "serve metrics", func(ctx context.Context) error {
		if err := w.client.Get(ctx, client.ObjectKey{Namespace: "cert-manager", Name: "metrics-ca"}, secret); err != nil {
			return err
		}
		return get(metrics, secret.Data["ca.crt"])
	})
	if err := get(metrics, certificates["A"]); err == nil {
		t.Error("the certificate is of another CA")
	}
	eventually(t, "serve profiles", func(context.Context) error {
		return get(fmt.Sprintf("http://localhost:%d/debug/pprof/goroutine?debug=1", profilerPort), nil)
	})
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}

	// From files.
	certificate, key, err := certutil.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"tls.crt": certificate, "tls.key": key}
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	running(t, start, "--config="+empty, listen, "--metrics-tls-min-version=VersionTLS13",
		"--metrics-tls-cert-file="+filepath.Join(dir, "tls.crt"), "--metrics-tls-private-key-file="+filepath.Join(dir, "tls.key"))
	eventually(t, "serve metrics", func(context.Context) error { return get(metrics, certificate) })
	address := fmt.Sprintf("localhost:%d", metricsPort)
	if connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		connection.Close()
		t.Error("it takes TLS 1.2")
	}
}
