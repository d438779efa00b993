package certs

import (
	"crypto/x509"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// authority is caject's own CA: it signs the leaves that the replicas serve.
type authority struct {
	pair
	// next is the CA that is to sign next, or nil.
	next *pair
	// trusted are the CAs that may have signed a leaf that is still served, and next.
	trusted cabundle.Bundle
	// signsSince is when pair began to sign; zero if that is not known.
	signsSince time.Time
	renewal
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

// content is what a Secret holds.
type content struct {
	authority *authority // nil if it holds no good CA
	wrong     error      // why not; nil if it does

	// What is of use even if it holds no good CA:
	trusted cabundle.Bundle
	next    *pair // or nil
	renewal renewal
}

var (
	// errNoAuthority says that a Secret holds no CA yet.
	errNoAuthority = errors.New("there is no CA in it yet")
	// errDistrusted says that a Secret holds a CA that is not to be trusted any more.
	errDistrusted = errors.New(certificateKey + " is distrusted")
)

// parseContent reads a Secret. A next CA that is not good is as good as none.
func parseContent(now time.Time, secret *corev1.Secret) content {
	c := content{trusted: cabundle.ParseExisting(secret.Data[trustedKey]), renewal: parseRenewal(secret.Annotations)}
	next, err := parsePair(now, secret.Data, nextCertificateKey, nextPrivateKeyKey, c.trusted)
	if err == nil && !c.renewal.distrusts(next.certificate) {
		c.next = next
	}
	if len(secret.Data[certificateKey]) == 0 && len(secret.Data[privateKeyKey]) == 0 {
		c.wrong = errNoAuthority
		return c
	}
	signing, err := parsePair(now, secret.Data, certificateKey, privateKeyKey, c.trusted)
	switch {
	case err != nil:
		c.wrong = err
		return c
	case c.renewal.distrusts(signing.certificate):
		c.wrong = errDistrusted
		return c
	}
	c.authority = &authority{pair: *signing, next: c.next, trusted: c.trusted, renewal: c.renewal}
	if since, err := time.Parse(time.RFC3339, secret.Annotations[signsSinceAnnotation]); err == nil {
		c.authority.signsSince = since
	}
	return c
}

// distrustedBy returns c, which is wrong if memory, which may be nil, distrusts its CA: the Secret was deleted, and a replica that had
// not looked for long has restored what it held.
func (c content) distrustedBy(memory *authority) content {
	if c.wrong == nil && memory != nil && memory.distrusts(c.authority.certificate) {
		c.authority, c.wrong = nil, errDistrusted
	}
	return c
}

// write puts a into a Secret, in place of what is there. Other keys and annotations stay.
func (a *authority) write(secret *corev1.Secret) (err error) {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[trustedKey] = a.trusted.PEM()
	if secret.Data[certificateKey], secret.Data[privateKeyKey], err = a.encode(); err != nil {
		return err
	}
	delete(secret.Data, nextCertificateKey)
	delete(secret.Data, nextPrivateKeyKey)
	if a.next != nil {
		if secret.Data[nextCertificateKey], secret.Data[nextPrivateKeyKey], err = a.next.encode(); err != nil {
			return err
		}
	}
	// Without it, resync would refuse our own CA.
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, cabundle.AllowDirectInjectionAnnotation, "true")
	if !a.signsSince.IsZero() {
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, signsSinceAnnotation, a.signsSince.UTC().Format(time.RFC3339))
	}
	a.renewal.write(secret.Annotations)
	return nil
}

// needed are the CAs that must be trusted whatever was before: the one that signs, and the next one.
func (a *authority) needed() cabundle.Bundle { return bundleOf(a.certificates()...) }

// certificates are those of the CA that signs and, if there is one, of the next.
func (a *authority) certificates() []*x509.Certificate {
	if a.next == nil {
		return []*x509.Certificate{a.certificate}
	}
	return []*x509.Certificate{a.certificate, a.next.certificate}
}
