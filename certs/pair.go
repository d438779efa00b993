package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"

	"k8s.io/client-go/util/keyutil"

	"github.com/caject/caject/cabundle"
)

// backdate is how far before now a certificate begins, for callers whose clock is behind.
const backdate = time.Hour

// pair is a CA certificate with its key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// newPair makes a CA that is valid from now for lifetime.
func newPair(now time.Time, lifetime time.Duration) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "caject CA"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	return &pair{certificate, key}, nil
}

// parsePair reads a CA and its key, which must be among those that are trusted.
func parsePair(now time.Time, data map[string][]byte, certificate, privateKey string, trusted cabundle.Bundle) (*pair, error) {
	read, err := tls.X509KeyPair(data[certificate], data[privateKey])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certificate, privateKey, err)
	}
	key, ok := read.PrivateKey.(crypto.Signer)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s cannot sign", privateKey)
	case !read.Leaf.IsCA:
		return nil, fmt.Errorf("%s is not a CA", certificate)
	case now.After(read.Leaf.NotAfter):
		return nil, fmt.Errorf("%s expired on %s", certificate, read.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(read.Leaf.NotBefore):
		return nil, fmt.Errorf("%s is not valid before %s: a clock that was ahead has made it", certificate, read.Leaf.NotBefore.UTC().Format(time.RFC3339))
	case !trusted.Holds(read.Leaf):
		return nil, fmt.Errorf("%s does not hold %s", trustedKey, certificate)
	}
	return &pair{read.Leaf, key}, nil
}

// encode returns certificate and key in PEM.
func (p *pair) encode() (certificate, key []byte, err error) {
	if key, err = keyutil.MarshalPrivateKeyToPEM(p.key); err != nil {
		return nil, nil, fmt.Errorf("encode CA key: %w", err)
	}
	return encodeCertificate(p.certificate.Raw), key, nil
}

// bundle is p's certificate alone.
func (p *pair) bundle() cabundle.Bundle { return bundleOf(p.certificate) }

// fingerprint is that of p's certificate, and empty if there is no p.
func (p *pair) fingerprint() string {
	if p == nil {
		return ""
	}
	return cabundle.Fingerprint(p.certificate)
}

// validAt reports whether now is between the certificate's beginning and its end.
func (p *pair) validAt(now time.Time) bool {
	return !now.Before(p.certificate.NotBefore) && !now.After(p.certificate.NotAfter)
}

// bundleOf returns a Bundle of certificates.
func bundleOf(certificates ...*x509.Certificate) cabundle.Bundle {
	var encoded []byte
	for _, certificate := range certificates {
		encoded = append(encoded, encodeCertificate(certificate.Raw)...)
	}
	return cabundle.ParseExisting(encoded)
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// renewAt returns when certificate is due. The last third of its life is kept for trouble; backdate is not part of its life.
func renewAt(certificate *x509.Certificate) time.Time {
	life := certificate.NotAfter.Sub(certificate.NotBefore)
	if life > backdate { // what somebody else has made may be shorter
		life -= backdate
	}
	return certificate.NotAfter.Add(-life / 3)
}
