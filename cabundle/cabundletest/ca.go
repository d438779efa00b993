// Package cabundletest makes certificates and keys for tests.
package cabundletest

import (
	"bytes"
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
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: Sign(template, template, key, key).Raw})
}

// Sign returns the certificate of key that template describes, issued by parent, whose key is signer.
func Sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return certificate
}

// NegativeSerial returns certificate (PEM) with a negative serial number: Go cannot parse it, OpenSSL can. The signature does not fit any more.
func NegativeSerial(certificate []byte) []byte {
	return edit(certificate, func(der []byte) {
		// Two sequences with long lengths, the version, and the tag and length of the serial number are before it.
		at := bytes.Index(der, []byte{0xa0, 3, 2, 1, 2}) + 7
		der[at] = 0x81
	})
}

// UnknownCurve returns certificate (PEM) with a key on an elliptic curve that Go does not know. The signature does not fit any more.
func UnknownCurve(certificate []byte) []byte {
	return edit(certificate, func(der []byte) {
		curve := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7} // 1.2.840.10045.3.1.7
		der[bytes.Index(der, curve)+len(curve)-1] = 6
	})
}

func edit(certificate []byte, edit func(der []byte)) []byte {
	block, _ := pem.Decode(certificate)
	edit(block.Bytes)
	return pem.EncodeToMemory(block)
}

// PrivateKey returns a new private key in PEM: what must never get out.
func PrivateKey() []byte {
	text, err := keyutil.MarshalPrivateKeyToPEM(newKey())
	if err != nil {
		panic(err)
	}
	return text
}

// Request returns a new certificate request in DER.
func Request() []byte {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "request"}}, newKey())
	if err != nil {
		panic(err)
	}
	return der
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}
