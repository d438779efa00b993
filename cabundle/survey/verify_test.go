package survey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/caject/caject/cabundle/cabundletest"
)

func TestWhetherTheAPIServerAcceptsWhatIsServed(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: at0.Add(-time.Hour), NotAfter: at0.Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	}
	server := func(name string, notAfter time.Time, usage x509.ExtKeyUsage) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, NotBefore: at0.Add(-time.Hour), NotAfter: notAfter, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	}
	root := cabundletest.Sign(authority("root"), authority("root"), key, key)
	between := cabundletest.Sign(authority("between"), root, key, key)
	later, serves := at0.Add(time.Hour), x509.ExtKeyUsageServerAuth
	good := cabundletest.Sign(server("b.a.svc", later, serves), root, key, key)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	for name, test := range map[string]struct {
		served   []*x509.Certificate
		caBundle []byte
		want     Verdict
		message  string
	}{
		"issued by it":                 {[]*x509.Certificate{good}, text, Verified, "accepts it"},
		"issued by one that it issued": {[]*x509.Certificate{cabundletest.Sign(server("b.a.svc", later, serves), between, key, key), between}, text, Verified, "accepts it"},
		"that one is not served":       {[]*x509.Certificate{cabundletest.Sign(server("b.a.svc", later, serves), between, key, key)}, text, UnknownAuthority, "its issuer is CN=between with key"},
		"issued by another":            {[]*x509.Certificate{good}, ca("other"), UnknownAuthority, "the caBundle has keys"},
		"for another name":             {[]*x509.Certificate{cabundletest.Sign(server("c.a.svc", later, serves), root, key, key)}, text, WrongName, "it is not for b.a.svc, but for c.a.svc"},
		"expired":                      {[]*x509.Certificate{cabundletest.Sign(server("b.a.svc", at0.Add(-time.Minute), serves), root, key, key)}, text, Expired, "CN=leaf: expired 60s ago"},
		"for clients":                  {[]*x509.Certificate{cabundletest.Sign(server("b.a.svc", later, x509.ExtKeyUsageClientAuth), root, key, key)}, text, NotAccepted, "incompatible key usage"},
		"nothing is trusted":           {[]*x509.Certificate{good}, []byte("\n"), NoBundle, "goes by the CAs of its own machine"},
		"nothing is served":            {nil, text, NotServed, "sent no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			dial := Dial{ServerName: "b.a.svc"}
			dial.Serves(at0, test.served, test.caBundle)
			if dial.Verdict != test.want || !strings.Contains(dial.Message, test.message) || len(dial.Served) != len(test.served) {
				t.Errorf("it is %s: %s", dial.Verdict, dial.Message)
			}
		})
	}
}
