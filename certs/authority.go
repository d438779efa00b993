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
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/client-go/util/keyutil"

	"github.com/caject/caject/cabundle"
)

// Keys of the Secret that holds the CA.
const (
	trustedKey     = "ca.crt"  // PEM: all CAs to trust, the current one last
	certificateKey = "tls.crt" // PEM: the current CA
	privateKeyKey  = "tls.key" // PEM: its private key
)

// backdate is how far before now a certificate begins, for callers whose clock is behind.
const backdate = time.Hour

// authority is caject's own CA: it signs the leaves that the replicas serve.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	// trusted are the CAs that may have signed a leaf that is still served; certificate is one of them.
	trusted cabundle.Bundle
}

// newAuthority makes a CA that is valid from now for lifetime; it trusts those of earlier that have not expired, too.
func newAuthority(now time.Time, lifetime time.Duration, earlier cabundle.Bundle) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "caject"},
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
	own := cabundle.ParseExisting(encodeCertificate(der))
	return &authority{certificate: certificate, key: key, trusted: cabundle.Merge(now, earlier, own)}, nil
}

// errNoAuthority says that a Secret holds no CA yet.
var errNoAuthority = errors.New("there is no CA in it yet")

// parseAuthority reads a CA out of a Secret's data. The error is errNoAuthority for a Secret without data, and says
// what is wrong with it otherwise.
func parseAuthority(now time.Time, data map[string][]byte) (*authority, error) {
	if len(data[certificateKey]) == 0 && len(data[privateKeyKey]) == 0 {
		return nil, errNoAuthority
	}
	pair, err := tls.X509KeyPair(data[certificateKey], data[privateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certificateKey, privateKeyKey, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s cannot sign", privateKeyKey)
	case !pair.Leaf.IsCA:
		return nil, fmt.Errorf("%s is not a CA", certificateKey)
	case now.After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("%s expired on %s", certificateKey, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	trusted := cabundle.ParseExisting(data[trustedKey])
	for _, certificate := range trusted.Certificates() {
		if certificate.Equal(pair.Leaf) {
			return &authority{certificate: pair.Leaf, key: key, trusted: trusted}, nil
		}
	}
	return nil, fmt.Errorf("%s does not hold %s", trustedKey, certificateKey)
}

// data returns a in the form of a Secret's data.
func (a *authority) data() (map[string][]byte, error) {
	key, err := keyutil.MarshalPrivateKeyToPEM(a.key)
	if err != nil {
		return nil, fmt.Errorf("encode CA key: %w", err)
	}
	return map[string][]byte{
		trustedKey:     a.trusted.PEM(),
		certificateKey: encodeCertificate(a.certificate.Raw),
		privateKeyKey:  key,
	}, nil
}

// leaf returns a new serving certificate for names (DNS names, or IP addresses), valid from now for lifetime but not
// longer than the CA.
func (a *authority) leaf(now time.Time, names []string, lifetime time.Duration) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make leaf key: %w", err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "caject"},
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

// renewAt returns when a certificate that was made for lifetime is due: a third of it is kept for trouble.
func renewAt(certificate *x509.Certificate, lifetime time.Duration) time.Time {
	return certificate.NotAfter.Add(-lifetime / 3)
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
