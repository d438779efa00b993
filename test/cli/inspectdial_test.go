package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strconv"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/test/playground"
)

// TestInspectDialsCaject asks caject itself, whose Service leads to this machine.
func TestInspectDialsCaject(t *testing.T) {
	t.Parallel()
	prints(t, 0, []string{"mwc/caject", "--dial"}, "reached from here at localhost:", "for the Service is an ExternalName", "✓ Verified: the API server accepts it")
}

// authority is a CA that issues certificates of servers.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dialled"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	a.certificate = cabundletest.Sign(template, template, a.key, a.key)
	return a
}

// pem returns the CA's certificate.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// serve has a server listen on all addresses of this machine, with a certificate for name that expires at notAfter, until the test ends.
func (a *authority) serve(t *testing.T, name string, notAfter time.Time) (port int32) {
	t.Helper()
	key := newKey(t)
	leaf := cabundletest.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter, DNSNames: []string{name},
	}, a.certificate, key, a.key)
	listener, err := tls.Listen("tcp", ":0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = connection.(*tls.Conn).HandshakeContext(t.Context())
				_ = connection.Close()
			}()
		}
	}()
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestInspectDials has servers behind a Service without pods and behind URLs serve what the API server would accept, and what not.
func TestInspectDials(t *testing.T) {
	t.Parallel()
	trusted, other := newAuthority(t), newAuthority(t)
	later := time.Now().Add(time.Hour)
	service(t, "dial-good", trusted.serve(t, "dial-good."+namespace+".svc", later))
	service(t, "dial-other", other.serve(t, "dial-other."+namespace+".svc", later))
	service(t, "dial-name", trusted.serve(t, "dial-name.elsewhere.svc", later))
	service(t, "dial-expired", trusted.serve(t, "dial-expired."+namespace+".svc", time.Now().Add(-time.Minute)))
	service(t, "dial-closed", 1)
	create(t, playground.NewSecret(namespace, "dial", trusted.pem()))
	at := func(name string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: namespace, Name: name}}
	}
	url := "https://localhost:" + strconv.Itoa(int(trusted.serve(t, "localhost", later)))
	for name, test := range map[string]struct {
		config  admissionregistrationv1.WebhookClientConfig
		verdict survey.Verdict
		words   []string
	}{
		"good":    {at("dial-good"), survey.Verified, []string{"for the endpoint has no Pod", "CN=leaf", "for dial-good.cli.svc"}},
		"other":   {at("dial-other"), survey.UnknownAuthority, []string{"its issuer is CN=dialled with key", "the caBundle has keys"}},
		"name":    {at("dial-name"), survey.WrongName, []string{"it is not for dial-name.cli.svc, but for dial-name.elsewhere.svc"}},
		"expired": {at("dial-expired"), survey.Expired, []string{"CN=leaf: expired"}},
		"closed":  {at("dial-closed"), survey.NotServed, []string{"connection refused"}},
		"absent":  {at("dial-absent"), survey.NotServed, []string{"Service cli/dial-absent does not exist"}},
		"url":     {admissionregistrationv1.WebhookClientConfig{URL: &url}, survey.Verified, []string{"served by https://localhost:", "reached from here, as the API server would"}},
	} {
		object := playground.NewValidating("dial-"+name, 1, playground.FromSecret(namespace, "dial"))
		object.Webhooks[0].ClientConfig = test.config
		create(t, object)
		filled(t, object, trusted.pem())
		code := 1
		if test.verdict == survey.Verified {
			code = 0
		}
		prints(t, code, []string{"vwc/dial-" + name, "--dial"}, append(test.words, string(test.verdict)+": ")...)
		if found := inspection(t, code, "vwc/dial-"+name, "--dial"); len(found.Dials) != 1 || found.Dials[0].Verdict != test.verdict {
			t.Errorf("%s: %+v", name, found.Dials)
		}
	}
}

// TestInspectDialsForAllKinds is about an APIService and a CRD, which name their servers in other places.
func TestInspectDialsForAllKinds(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	service(t, "dial-kinds", trusted.serve(t, "dial-kinds."+namespace+".svc", time.Now().Add(time.Hour)))
	create(t, playground.NewSecret(namespace, "dial-kinds", trusted.pem()))
	apiService := playground.NewAPIService("dial", playground.FromSecret(namespace, "dial-kinds"))
	apiService.Spec.Service.Namespace, apiService.Spec.Service.Name = namespace, "dial-kinds"
	crd := playground.NewCRD("dials", playground.FromSecret(namespace, "dial-kinds"))
	crd.Spec.Conversion.Webhook.ClientConfig.Service.Namespace, crd.Spec.Conversion.Webhook.ClientConfig.Service.Name = namespace, "dial-kinds"
	create(t, apiService, crd)
	filled(t, apiService, trusted.pem())
	filled(t, crd, trusted.pem())
	for _, name := range []string{"apiservice/v1.dial.example.com", "crd/dials.dials.example.com"} {
		prints(t, 0, []string{name, "--dial"}, "served by Service cli/dial-kinds, port 443", "✓ Verified")
	}
}

// service creates a Service whose one endpoint is a port of this machine.
func service(t *testing.T, name string, port int32) {
	t.Helper()
	ready := true
	create(t,
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
		},
		&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: new("https"), Port: &port}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{ownAddress(t)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		})
}

// ownAddress is one of this machine that an endpoint may have: not one of loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if one, ok := address.(*net.IPNet); ok && one.IP.To4() != nil && one.IP.IsGlobalUnicast() {
			return one.IP.String()
		}
	}
	t.Fatal("this machine has no address but those of loopback")
	return ""
}
