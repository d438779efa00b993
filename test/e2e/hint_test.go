package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/test/playground"
)

// pushed installs a caject that would resync in an hour: what it follows in time, it was told.
func pushed(t *testing.T, values ...string) (*installation, *playground.Process) {
	t.Helper()
	i := own(t, append(values, "resyncInterval=1h")...)
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "trust the hints", func(ctx context.Context) error {
		configuration := playground.NewValidating("caject-hints", 0, nil)
		if err := i.client.Get(ctx, client.ObjectKeyFromObject(configuration), configuration); err != nil {
			return err
		}
		if len(playground.CABundles(configuration)[0]) == 0 {
			return fmt.Errorf("it has no caBundle")
		}
		return nil
	})
	return i, process
}

func TestARotationIsPushed(t *testing.T) {
	t.Parallel()
	i, process := pushed(t)
	if _, err := i.certManagerCRDs(t); err != nil {
		t.Fatal(err)
	}
	first, second, third := playground.NewCA("first"), playground.NewCA("second"), playground.NewCA("third")
	i.create(t, playground.NewSecret(namespace, "pushed", first))
	targets := map[cabundle.Kind]client.Object{}
	for kind, make := range kinds {
		targets[kind] = make("pushed"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "pushed"))
		i.create(t, targets[kind])
	}
	all := func(want ...[]byte) {
		t.Helper()
		for _, target := range targets {
			i.filled(t, target, want...)
			i.ownerless(t, target)
		}
	}
	all(first)
	i.changeSecret(t, "pushed", func(s *corev1.Secret) { s.Data["ca.crt"] = second })
	all(first, second)

	// The source is gone, and back with another CA.
	if err := i.client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pushed"}}); err != nil {
		t.Fatal(err)
	}
	i.create(t, playground.NewSecret(namespace, "pushed", third))
	all(first, second, third)

	// Of a Certificate: it names another Secret, which opts in later.
	certificate := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": namespace, "name": "issued"},
		"spec": map[string]any{
			"secretName": "issued-1", "dnsNames": []any{"example.com"}, "issuerRef": map[string]any{"name": "issuer"},
		},
	}}
	certificate.SetGroupVersionKind(cluster.CertificateKind)
	eventually(t, "create a Certificate", func(ctx context.Context) error { return i.client.Create(ctx, certificate) })
	for n, ca := range [][]byte{first, second} {
		issued := playground.NewSecret(namespace, fmt.Sprintf("issued-%d", n+1), ca)
		issued.Annotations = map[string]string{cabundle.CertificateNameAnnotation: "issued"}
		if n == 1 {
			issued.Annotations = nil
		}
		i.create(t, issued)
	}
	target := playground.NewValidating("issued", 1, map[string]string{cabundle.InjectCAFromAnnotation: namespace + "/issued"})
	i.create(t, target)
	i.filled(t, target, first)
	if err := unstructured.SetNestedField(certificate.Object, "issued-2", "spec", "secretName"); err != nil {
		t.Fatal(err)
	}
	if err := i.client.Update(t.Context(), certificate); err != nil {
		t.Fatal(err)
	}
	i.event(t, target, string(cabundle.SourceNotAllowed))
	i.changeSecret(t, "issued-2", func(s *corev1.Secret) {
		s.Annotations = map[string]string{cabundle.CertificateNameAnnotation: "issued"}
	})
	i.filled(t, target, first, second)

	families, err := i.metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if find(families["caject_injections_total"], map[string]string{"path": "hint"}) == nil {
		t.Error("no injection is counted as that of a hint")
	}
	i.rotatesWithoutCalls(t)

	// A frozen caject delays a write by a second, no more; and nothing is lost that it would have done.
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Signal(syscall.SIGCONT) })
	i.changeSecret(t, "pushed", func(s *corev1.Secret) { s.Data["ca.crt"] = first })
}

// rotatesWithoutCalls fails the test unless a CRD follows its source without caject being called for it: the policies do it, once
// they are in force. Where none fills CRDs it must be called.
func (i *installation) rotatesWithoutCalls(t *testing.T) {
	t.Helper()
	const name = "uncalled"
	all := playground.NewCA(name)
	i.create(t, playground.NewSecret(namespace, name, all))
	crd := playground.NewCRD(name, playground.FromSecret(namespace, name))
	i.create(t, crd)
	i.filled(t, crd, all)
	i.publication(t, "secret."+namespace+"."+name, "ready", ready) // else the CRD holds more than what is published
	byPolicy := i.byPolicy(t, cabundle.CustomResourceDefinition)
	eventually(t, "rotate without a call", func(context.Context) error {
		calls, ca := i.calls(t, "/inject"), playground.NewCA(name)
		all = append(all, ca...)
		i.changeSecret(t, name, func(s *corev1.Secret) { s.Data["ca.crt"] = ca })
		i.filled(t, crd, all)
		if more := i.calls(t, "/inject") - calls; (more > 0) == byPolicy {
			return fmt.Errorf("caject was called %v times", more)
		}
		return nil
	})
}

// certManagerCRDs makes the cluster know Certificates.
func (i *installation) certManagerCRDs(t *testing.T) (playground.Output, error) {
	t.Helper()
	rendered, err := i.control.RenderCertManager(t.Context(), []string{"crd-cert-manager.io_certificates"})
	if err != nil {
		t.Fatal(err)
	}
	return i.control.Kubectl(t.Context(), rendered, "apply", "--server-side", "-f", "-")
}

// hintsSince returns a function that fails the test unless caject was given so many hints since it was called last.
func (i *installation) hintsSince(t *testing.T) func(sentence string, want float64) {
	t.Helper()
	calls := i.calls(t, "/hint")
	return func(sentence string, want float64) {
		t.Helper()
		eventually(t, sentence, func(context.Context) error {
			if got := i.calls(t, "/hint") - calls; got != want {
				return fmt.Errorf("%v calls, not %v", got, want)
			}
			return nil
		})
		calls = i.calls(t, "/hint")
	}
}

// TestWhatIsNoHint counts the calls that reach caject.
func TestWhatIsNoHint(t *testing.T) {
	t.Parallel()
	i, _ := pushed(t, "sources.ignoredNamespaces={kube-system}")
	ca, next := playground.NewCA("one"), playground.NewCA("two")
	expect := i.hintsSince(t)
	opaque := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "opaque"}, Data: map[string][]byte{"ca.crt": ca, "password": []byte("x")}}
	i.create(t, opaque)
	i.changeSecret(t, "opaque", func(s *corev1.Secret) { s.Data["ca.crt"] = next })
	i.create(t, playground.NewSecret("kube-system", "elsewhere", ca))
	expect("a Secret that does not allow it, or is out of scope", 0)
	dry := playground.NewSecret(namespace, "dry", ca)
	if err := i.client.Create(t.Context(), dry, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	expect("a dry run", 0)
	i.create(t, playground.NewSecret(namespace, "hinted", ca))
	expect("one that allows it", 1)
	i.changeSecret(t, "hinted", func(s *corev1.Secret) { s.Data["tls.crt"] = ca })
	i.changeSecret(t, "hinted", func(s *corev1.Secret) { s.Labels = map[string]string{"a": "b"} })
	i.changeSecret(t, "hinted", func(s *corev1.Secret) { s.Annotations["a"] = "b" })
	expect("another key, label or annotation", 0)
	i.changeSecret(t, "hinted", func(s *corev1.Secret) { s.Data["ca.crt"] = next })
	expect("another ca.crt", 1)
	i.changeSecret(t, "hinted", func(s *corev1.Secret) { delete(s.Data, "ca.crt") })
	expect("no ca.crt any more", 1)
	i.changeSecret(t, "hinted", func(s *corev1.Secret) { s.Annotations = nil })
	expect("opt-in withdrawn, without a ca.crt", 0)
	i.changeSecret(t, "opaque", func(s *corev1.Secret) {
		s.Annotations = map[string]string{cabundle.AllowDirectInjectionAnnotation: "true"}
	})
	expect("a Secret opts in", 1)
	i.changeSecret(t, "opaque", func(s *corev1.Secret) { s.Annotations = nil })
	expect("and out", 1)
}

// TestAnnotationsOfASecretAreHints is about Secrets that keep their ca.crt.
func TestAnnotationsOfASecretAreHints(t *testing.T) {
	t.Parallel()
	i, _ := pushed(t)
	fingerprint := strings.Repeat("ab", 32)
	issued := playground.NewSecret(namespace, "annotated", playground.NewCA("annotated"))
	issued.Annotations = map[string]string{cabundle.CertificateNameAnnotation: "one"}
	silent := playground.NewSecret(namespace, "silent", playground.NewCA("silent"))
	silent.Annotations = nil
	empty := playground.NewSecret(namespace, "empty", nil)
	delete(empty.Data, "ca.crt")
	i.create(t, issued, silent, empty)
	expect := i.hintsSince(t)
	annotate := func(name, key, value string) {
		t.Helper()
		i.changeSecret(t, name, func(s *corev1.Secret) {
			if value == "" {
				delete(s.Annotations, key)
			} else {
				metav1.SetMetaDataAnnotation(&s.ObjectMeta, key, value)
			}
		})
	}
	annotate("annotated", cabundle.AllowDirectInjectionAnnotation, "true")
	expect("a Secret of cert-manager's allows direct injection, too", 1)
	annotate("annotated", cabundle.AllowDirectInjectionAnnotation, "")
	expect("and does not any more", 1)
	annotate("annotated", cabundle.CertificateNameAnnotation, "two")
	expect("it is that of another Certificate", 1)
	annotate("annotated", cabundle.DistrustAnnotation, fingerprint)
	expect("it distrusts a CA", 1)
	annotate("annotated", cabundle.TrustAgainAnnotation, fingerprint)
	expect("and trusts it again", 1)
	annotate("annotated", cabundle.DistrustAnnotation, "")
	expect("the distrust is dropped", 1)
	annotate("annotated", cabundle.TrustAgainAnnotation, fingerprint)
	expect("nothing changes", 0)
	annotate("silent", cabundle.DistrustAnnotation, fingerprint)
	expect("a Secret that does not allow injection", 0)
	annotate("empty", cabundle.DistrustAnnotation, fingerprint)
	expect("a Secret without a ca.crt", 0)
	i.changeSecret(t, "annotated", func(s *corev1.Secret) {
		s.Annotations = nil
		s.Data["ca.crt"] = playground.NewCA("withdrawn")
	})
	expect("another ca.crt, and no opt-in any more", 1)
}

// TestHintsAreNotBelieved sends hints that the API server has not sent, and many of them.
func TestHintsAreNotBelieved(t *testing.T) {
	t.Parallel()
	i, process := pushed(t)
	ca, forged := playground.NewCA("real"), playground.NewCA("forged")
	i.create(t, playground.NewSecret(namespace, "real", ca), playground.NewSecret(namespace, "unnamed", ca))
	target := playground.NewValidating("real", 1, playground.FromSecret(namespace, "real"))
	i.create(t, target)
	i.filled(t, target, ca)
	i.ownerless(t, target)
	i.publication(t, "secret.e2e.real", "ready", ready)
	time.Sleep(5 * time.Second) // the hint of its creation has been followed
	version := target.ResourceVersion

	hint := func(name string) {
		t.Helper()
		key := cabundletest.PrivateKey()
		secret := playground.NewSecret(namespace, name, forged)
		secret.Data["tls.key"] = key
		raw, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		review := admissionv1.AdmissionReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
			Request: &admissionv1.AdmissionRequest{
				UID: "forged", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Secret"}, Operation: admissionv1.Update,
				Namespace: namespace, Name: name, Object: runtime.RawExtension{Raw: raw},
			},
		}
		body, err := json.Marshal(review)
		if err != nil {
			t.Fatal(err)
		}
		response, err := insecure.Post(fmt.Sprintf("https://localhost:%d/hint", i.WebhookPort), "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var answer admissionv1.AdmissionReview
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || !answer.Response.Allowed || answer.Response.Patch != nil {
			t.Errorf("the answer is %+v, %v", answer.Response, err)
		}
	}
	reads := func() (n float64) {
		t.Helper()
		families, err := i.metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range families["caject_source_reads_total"].GetMetric() {
			for _, label := range metric.Label {
				if label.GetName() == "path" && label.GetValue() == "hint" {
					n += metric.Counter.GetValue()
				}
			}
		}
		return n
	}
	before := reads()
	hint("unnamed")
	hint("missing")
	time.Sleep(2 * time.Second)
	if n := reads() - before; n != 2 { // each is published ahead, if it is true
		t.Errorf("%v reads of two sources that no target names", n)
	}
	before = reads()
	for range 1000 {
		hint("real")
	}
	eventually(t, "follow them", func(context.Context) error {
		if reads() == before {
			return fmt.Errorf("nothing is read")
		}
		return nil
	})
	time.Sleep(10 * time.Second)
	if n := reads() - before; n > 30 {
		t.Errorf("%v reads after 1,000 hints", n)
	} else {
		t.Logf("%v reads after 1,000 hints", n)
	}
	i.filled(t, target, ca)
	if target.ResourceVersion != version {
		t.Error("the target was written")
	}
	if log := process.ReadLog(); strings.Contains(log, "PRIVATE") || strings.Contains(log, "BEGIN") {
		t.Error("the log holds what was sent")
	}
}

// TestAHintOfAWriteThatIsRejected has another webhook deny a write of which caject was told.
func TestAHintOfAWriteThatIsRejected(t *testing.T) {
	t.Parallel()
	i, _ := pushed(t)
	ca := playground.NewCA("stored")
	i.create(t, playground.NewSecret(namespace, "rejected", ca))
	target := playground.NewValidating("rejected", 1, playground.FromSecret(namespace, "rejected"))
	i.create(t, target)
	i.filled(t, target, ca)
	i.ownerless(t, target)
	i.publication(t, "secret.e2e.rejected", "ready", ready)
	time.Sleep(5 * time.Second) // the hint of its creation has been followed
	if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(target), target); err != nil {
		t.Fatal(err)
	}

	denier := playground.NewValidating("denier", 1, nil)
	fail, nowhere := admissionregistrationv1.Fail, "https://localhost:1/"
	denier.Webhooks[0].FailurePolicy = &fail
	denier.Webhooks[0].ClientConfig = admissionregistrationv1.WebhookClientConfig{URL: &nowhere}
	denier.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}}
	denier.Webhooks[0].Rules = []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
	}}
	i.create(t, denier)
	calls := i.calls(t, "/hint")
	secret := &corev1.Secret{}
	if err := i.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "rejected"}, secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "have a write denied", func(ctx context.Context) error {
		secret.Data["ca.crt"] = playground.NewCA("never stored")
		err := i.client.Update(ctx, secret)
		if err == nil {
			secret.Data["ca.crt"] = ca // the API server does not know the webhook yet
			return errors.Join(errors.New("it is accepted"), i.client.Update(ctx, secret))
		}
		return nil
	})
	eventually(t, "be told", func(context.Context) error {
		if i.calls(t, "/hint") == calls {
			return errors.New("no call")
		}
		return nil
	})
	time.Sleep(5 * time.Second) // it has been followed
	version := target.ResourceVersion
	i.filled(t, target, ca)
	if target.ResourceVersion != version {
		t.Error("the target was written")
	}
}

// insecure does not look whose certificate it is.
var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// TestWhoAppliesAWebhookConfigurationIsWarned is about policies: the API server sends these to no webhook.
func TestWhoAppliesAWebhookConfigurationIsWarned(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"noslash": "warned", "toomany": "a/b/c", "none": "", "upper": "A/b"} {
		target := playground.NewValidating("warned"+name, 1, map[string]string{cabundle.InjectCAFromSecretAnnotation: value})
		shared.create(t, target)
		eventually(t, "warn of "+value, func(ctx context.Context) error {
			if len(shared.warnings.about(fmt.Sprintf("%q is not namespace/name", value))) > 0 {
				return nil
			}
			probe := target.DeepCopy()
			probe.ResourceVersion, probe.Name = "", "warnedprobe"+name
			return fmt.Errorf("no warning (%v)", shared.client.Create(ctx, probe, client.DryRunAll))
		})
	}
	missing := playground.NewValidating("warnedmissing", 1, playground.FromSecret(namespace, "warned-missing"))
	shared.create(t, missing)
	eventually(t, "warn of a source that is missing", func(ctx context.Context) error {
		probe := playground.NewValidating("warnedprobe", 1, playground.FromSecret(namespace, "warned-missing"))
		if err := shared.client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if len(shared.warnings.about("Secret e2e/warned-missing does not exist", "caject keeps trying")) == 0 {
			return fmt.Errorf("no warning")
		}
		return nil
	})
	shared.works(t, "warnedgood")
	if found := shared.warnings.about("warnedgood"); len(found) > 0 {
		t.Errorf("warnings of what is right: %v", found)
	}
}
