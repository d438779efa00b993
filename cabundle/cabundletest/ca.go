// Package cabundletest makes certificates and keys for tests.
package cabundletest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"time"

	"k8s.io/client-go/util/keyutil"
)

// CA returns a new CA certificate in PEM, with the given name, that is valid between the two times.
func CA(name string, notBefore, notAfter time.Time) []byte {
	key := newKey()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// PrivateKey returns a new private key in PEM: what must never get out.
func PrivateKey() []byte {
	text, err := keyutil.MarshalPrivateKeyToPEM(newKey())
	if err != nil {
		panic(err)
	}
	return text
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}
