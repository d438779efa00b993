package e2e

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/test/playground"
)

// TestCertManager switches caject for the cainjector of a real cert-manager: its chart is rendered without cainjector
// and applied, and caject fills its webhook configurations from the Secret that cert-manager's webhook makes. Before
// that, it shows that Certificates are followed as soon as the cluster has them.
func TestCertManager(t *testing.T) {
	i := own(t, "resyncInterval=1s")
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}

	annotations := map[string]string{cabundle.InjectCAFromAnnotation: namespace + "/serving"}
	targets := map[cabundle.Kind]client.Object{}
	for kind, make := range kinds {
		targets[kind] = make("certificate"+strings.ToLower(string(kind)), annotations)
		i.create(t, targets[kind])
		if message := i.event(t, targets[kind], string(cabundle.SourceNotFound)); !strings.Contains(message, "install cert-manager's CRDs") {
			t.Errorf("Event %q", message)
		}
	}
	if len(i.warnings.about("install cert-manager's CRDs")) == 0 {
		t.Error("no warning that there are no Certificates")
	}

	rendered, err := i.control.RenderCertManager(t.Context(), nil, "cainjector.enabled=false")
	if err != nil {
		t.Fatal(err)
	}
	certManagerNamespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "cert-manager"}}
	if err := i.client.Create(t.Context(), certManagerNamespace); err != nil {
		t.Fatal(err)
	}
	apply := func() string {
		t.Helper()
		output, err := i.control.Kubectl(t.Context(), rendered, "apply", "--server-side", "-f", "-")
		if err != nil {
			t.Fatal(err)
		}
		return output.Stdout
	}
	applied := apply()
	for _, want := range []string{"validatingwebhookconfiguration.admissionregistration.k8s.io/cert-manager-webhook", "mutatingwebhookconfiguration.admissionregistration.k8s.io/cert-manager-webhook", "certificates.cert-manager.io"} {
		if !strings.Contains(applied, want) {
			t.Fatalf("%s is not among what was applied:\n%s", want, applied)
		}
	}
	validating, mutating := playground.NewValidating("cert-manager-webhook", 0, nil), playground.NewMutating("cert-manager-webhook", 0, nil)
	for _, target := range []client.Object{validating, mutating} {
		if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(target), target); err != nil {
			t.Fatal(err)
		}
		i.event(t, target, string(cabundle.SourceNotFound))
	}

	// cert-manager's webhook makes its CA in this Secret.
	webhookCA := playground.NewCA("cert-manager-webhook-ca")
	secret := playground.NewSecret("cert-manager", "cert-manager-webhook-ca", webhookCA)
	secret.Data["tls.crt"], secret.Data["tls.key"] = webhookCA, cabundletest.PrivateKey()
	i.create(t, secret)
	i.filled(t, validating, webhookCA)
	i.filled(t, mutating, webhookCA)

	// Its webhook is not running here: it must not be asked about Certificates.
	for _, target := range []client.Object{validating, mutating} {
		if err := i.client.Delete(t.Context(), target); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range targets {
		i.event(t, target, string(cabundle.SourceNotFound))
	}
	certificate := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": namespace, "name": "serving"},
		"spec": map[string]any{
			"secretName": "serving-tls",
			"dnsNames":   []any{"example.com"},
			"issuerRef":  map[string]any{"name": "issuer"},
		},
	}}
	certificate.SetGroupVersionKind(cluster.CertificateKind)
	eventually(t, "create a Certificate", func(ctx context.Context) error { return i.client.Create(ctx, certificate) })

	// The Secret of another Certificate is refused.
	ca := playground.NewCA("issued")
	tls := playground.NewSecret(namespace, "serving-tls", ca)
	tls.Annotations = map[string]string{cabundle.CertificateNameAnnotation: "another", cabundle.AllowDirectInjectionAnnotation: "true"}
	i.create(t, tls)
	for _, target := range targets {
		if message := i.event(t, target, string(cabundle.SourceNotAllowed)); !strings.Contains(message, cabundle.CertificateNameAnnotation) {
			t.Errorf("Event %q", message)
		}
	}
	tls.Annotations[cabundle.CertificateNameAnnotation] = "serving"
	if err := i.client.Update(t.Context(), tls); err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		i.filled(t, target, ca)
	}
	// From now on, admission fills from Certificates, too.
	late := playground.NewCRD("late", annotations)
	i.create(t, late)
	if err := playground.Holds(late, ca); err != nil {
		t.Error("in the answer to the create:", err)
	}
}
