package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caject/caject/cabundle"
)

// TestOthersThanGoVerifyALeaf: OpenSSL takes a certificate for self-signed whose issuer and subject are the same, and its strict mode,
// which Python uses, asks for key identifiers.
func TestOthersThanGoVerifyALeaf(t *testing.T) {
	made, other := newTestAuthority(t, time.Now()), newTestAuthority(t, time.Now())
	tests := map[string]*authority{
		"a CA":                                made,
		"a CA that is trusted beside another": {pair: made.pair, trusted: cabundle.Merge(time.Now(), other.trusted, made.trusted)},
		"a CA that is trusted before another": {pair: made.pair, trusted: cabundle.Merge(time.Now(), made.trusted, other.trusted)},
		"a CA of a release before":            namedAsBefore(t),
	}
	for sentence, ca := range tests {
		t.Run(sentence, func(t *testing.T) {
			leaf, err := ca.leaf(time.Now(), []string{"caject.ns.svc"}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(leaf.Leaf.RawIssuer, leaf.Leaf.RawSubject) {
				t.Error("issuer and subject are the same")
			}
			if len(leaf.Leaf.AuthorityKeyId) == 0 || !bytes.Equal(leaf.Leaf.AuthorityKeyId, ca.certificate.SubjectKeyId) {
				t.Error("it does not say whose key has signed it")
			}
			if openssl, err := exec.LookPath("openssl"); err == nil {
				verifyWith(t, openssl, ca.trusted, leaf.Leaf)
			}
		})
	}
}

func verifyWith(t *testing.T, openssl string, trusted cabundle.Bundle, leaf *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	roots, certificate := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "tls.crt")
	for file, content := range map[string][]byte{roots: trusted.PEM(), certificate: encodeCertificate(leaf.Raw)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "caject.ns.svc", "-CAfile", roots, certificate)
	if out, err := verify.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// namedAsBefore returns a CA with the name that CAs had, and leaves too.
func namedAsBefore(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "caject"}, NotBefore: time.Now().Add(-backdate), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{pair: pair{certificate, key}, trusted: bundleOf(certificate)}
}
