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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/keyutil"

	"github.com/caject/caject/cabundle"
)

// Keys of the Secret that holds the CA.
const (
	trustedKey         = "ca.crt"   // PEM: all CAs to trust
	certificateKey     = "tls.crt"  // PEM: the CA that signs
	privateKeyKey      = "tls.key"  // PEM: its private key
	nextCertificateKey = "next.crt" // PEM: the CA that is to sign next, once all callers trust it; absent if there is none
	nextPrivateKeyKey  = "next.key" // PEM: its private key
)

// signsSinceAnnotation is on the Secret: when the CA that signs began to, in RFC 3339.
const signsSinceAnnotation = "caject.io/signs-since"

// backdate is how far before now a certificate begins, for callers whose clock is behind.
const backdate = time.Hour

// pair is a CA certificate with its key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// authority is caject's own CA: it signs the leaves that the replicas serve.
type authority struct {
	pair
	// next is the CA that is to sign next, or nil.
	next *pair
	// trusted are the CAs that may have signed a leaf that is still served, and next.
	trusted cabundle.Bundle
	// signsSince is when pair began to sign; zero if that is not known.
	signsSince time.Time
}

// newPair makes a CA that is valid from now for lifetime.
func newPair(now time.Time, lifetime time.Duration) (*pair, error) {
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
	return &pair{certificate, key}, nil
}

// newAuthority makes a CA that is valid from now for lifetime, and signs from now on; it trusts those of earlier that have
// not expired, too.
func newAuthority(now time.Time, lifetime time.Duration, earlier cabundle.Bundle) (*authority, error) {
	made, err := newPair(now, lifetime)
	if err != nil {
		return nil, err
	}
	return &authority{pair: *made, trusted: cabundle.Merge(now, earlier, made.bundle()), signsSince: now}, nil
}

// bundle is p's certificate alone.
func (p *pair) bundle() cabundle.Bundle {
	return cabundle.ParseExisting(encodeCertificate(p.certificate.Raw))
}

// errNoAuthority says that a Secret holds no CA yet.
var errNoAuthority = errors.New("there is no CA in it yet")

// parseAuthority reads a CA out of a Secret. The error is errNoAuthority for a Secret without one, and says what is wrong
// with it otherwise. A next CA that is not good is as good as none.
func parseAuthority(now time.Time, secret *corev1.Secret) (*authority, error) {
	data := secret.Data
	if len(data[certificateKey]) == 0 && len(data[privateKeyKey]) == 0 {
		return nil, errNoAuthority
	}
	trusted := cabundle.ParseExisting(data[trustedKey])
	signing, err := parsePair(now, data, certificateKey, privateKeyKey, trusted)
	if err != nil {
		return nil, err
	}
	a := &authority{pair: *signing, trusted: trusted}
	a.next = parseNext(now, secret)
	if since, err := time.Parse(time.RFC3339, secret.Annotations[signsSinceAnnotation]); err == nil {
		a.signsSince = since
	}
	return a, nil
}

// parseNext returns the next CA of a Secret, or nil if it has no good one.
func parseNext(now time.Time, secret *corev1.Secret) *pair {
	next, err := parsePair(now, secret.Data, nextCertificateKey, nextPrivateKeyKey, cabundle.ParseExisting(secret.Data[trustedKey]))
	if err != nil {
		return nil
	}
	return next
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
	case !trusted.Holds(read.Leaf):
		return nil, fmt.Errorf("%s does not hold %s", trustedKey, certificate)
	}
	return &pair{read.Leaf, key}, nil
}

// write puts a into a Secret, in place of what is there. Other keys stay.
func (a *authority) write(secret *corev1.Secret) error {
	key, err := keyutil.MarshalPrivateKeyToPEM(a.key)
	if err != nil {
		return fmt.Errorf("encode CA key: %w", err)
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[trustedKey] = a.trusted.PEM()
	secret.Data[certificateKey] = encodeCertificate(a.certificate.Raw)
	secret.Data[privateKeyKey] = key
	delete(secret.Data, nextCertificateKey)
	delete(secret.Data, nextPrivateKeyKey)
	if a.next != nil {
		if key, err = keyutil.MarshalPrivateKeyToPEM(a.next.key); err != nil {
			return fmt.Errorf("encode CA key: %w", err)
		}
		secret.Data[nextCertificateKey] = encodeCertificate(a.next.certificate.Raw)
		secret.Data[nextPrivateKeyKey] = key
	}
	// Without it, resync would refuse our own CA.
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, cabundle.AllowDirectInjectionAnnotation, "true")
	if !a.signsSince.IsZero() {
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, signsSinceAnnotation, a.signsSince.UTC().Format(time.RFC3339))
	}
	return nil
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
