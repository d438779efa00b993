package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"
)

// leafName is not the name of a CA, nor that of CAs that were made before they had one of their own: where issuer and subject are the same,
// OpenSSL takes a certificate for self-signed, and Go does not say in it whose key has signed it.
const leafName = "caject server"

// leaf returns a new serving certificate for names (DNS names, or IP addresses), valid from now for lifetime but not
// longer than the CA.
func (a *authority) leaf(now time.Time, names []string, lifetime time.Duration) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make leaf key: %w", err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: leafName},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(a.certificate.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make leaf certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make leaf certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, nil
}

// signed reports whether the CA that signs now has signed leaf. There may be no leaf.
func (a *authority) signed(leaf *tls.Certificate) bool {
	return leaf != nil && leaf.Leaf.CheckSignatureFrom(a.certificate) == nil
}

// leafDueAt returns when leaf, which a has signed, is to be made anew. ok is false if that would gain nothing: a leaf that ends
// with its CA is followed by one of the next CA.
func (a *authority) leafDueAt(leaf *x509.Certificate) (at time.Time, ok bool) {
	if !leaf.NotAfter.Before(a.certificate.NotAfter) {
		return time.Time{}, false
	}
	return renewAt(leaf), true
}

// leafDue reports whether leaf, which a has signed, is to be made anew: it is due, or, for the clock has gone back, not valid yet.
func (a *authority) leafDue(now time.Time, leaf *x509.Certificate) bool {
	at, ok := a.leafDueAt(leaf)
	return ok && !now.Before(at) || now.Before(leaf.NotBefore)
}
