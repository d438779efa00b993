package survey

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/caject/caject/cabundle"
)

// Certificate is what is shown of one. Its texts are printable: see Printable.
type Certificate struct {
	// Number is its place among the CERTIFICATE blocks, from 1.
	Number int `json:"number"`
	// Fault says why the API server does not read it; most of the rest is empty then.
	Fault   string `json:"fault,omitempty"`
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	// SelfIssued is true if subject and issuer are the same.
	SelfIssued bool `json:"selfIssued,omitempty"`
	// Serial is the serial number in hex.
	Serial    string     `json:"serial,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`
	NotAfter  *time.Time `json:"notAfter,omitempty"`
	// Validity says in words how the time of looking lies to both.
	Validity string `json:"validity,omitempty"`
	// Key is the algorithm of its key, with the size: "RSA 2048", "ECDSA P-256".
	Key                string `json:"key,omitempty"`
	SignatureAlgorithm string `json:"signatureAlgorithm,omitempty"`
	// Fingerprint is the SHA-256 of its DER, in hex.
	Fingerprint string `json:"fingerprint"`
	// CA says whether it is one that may issue others.
	CA bool `json:"ca"`
	// Names are those that it is for, if it is a server's.
	Names []string `json:"names,omitempty"`
	// KeyID and IssuerKeyID are its subject and authority key identifiers, in hex; empty if it has none.
	KeyID       string `json:"keyID,omitempty"`
	IssuerKeyID string `json:"issuerKeyID,omitempty"`
	// Origin says which certificate of the source it is; empty if that is not asked.
	Origin string `json:"origin,omitempty"`
}

// describe returns what is shown of certificate at now.
func describe(now time.Time, number int, certificate *x509.Certificate) Certificate {
	notBefore, notAfter := certificate.NotBefore.UTC(), certificate.NotAfter.UTC()
	described := Certificate{
		Number:             number,
		Subject:            named(certificate.Subject.String()),
		Issuer:             named(certificate.Issuer.String()),
		SelfIssued:         string(certificate.RawSubject) == string(certificate.RawIssuer),
		NotBefore:          &notBefore,
		NotAfter:           &notAfter,
		Validity:           validity(now, notBefore, notAfter),
		Key:                keyOf(certificate),
		SignatureAlgorithm: "unknown",
		Fingerprint:        cabundle.Fingerprint(certificate),
		CA:                 certificate.BasicConstraintsValid && certificate.IsCA,
		KeyID:              hex.EncodeToString(certificate.SubjectKeyId),
		IssuerKeyID:        hex.EncodeToString(certificate.AuthorityKeyId),
		Names:              namesOf(certificate),
	}
	if certificate.SerialNumber != nil {
		described.Serial = certificate.SerialNumber.Text(16)
	}
	if certificate.SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
		described.SignatureAlgorithm = certificate.SignatureAlgorithm.String()
	}
	return described
}

// named returns a distinguished name as it is shown.
func named(name string) string {
	if name == "" {
		return "(empty)"
	}
	return Printable(name)
}

// namesOf returns the names that certificate is for.
func namesOf(certificate *x509.Certificate) []string {
	var names []string
	for _, name := range certificate.DNSNames {
		names = append(names, Printable(name))
	}
	for _, address := range certificate.IPAddresses {
		names = append(names, net.IP(address).String())
	}
	for _, uri := range certificate.URIs {
		names = append(names, Printable((*url.URL)(uri).String()))
	}
	return names
}

// validity says in words how now lies to a certificate's times.
func validity(now, notBefore, notAfter time.Time) string {
	switch {
	case now.After(notAfter):
		return "expired " + duration.HumanDuration(now.Sub(notAfter)) + " ago"
	case now.Before(notBefore):
		return "valid in " + duration.HumanDuration(notBefore.Sub(now)) + " only"
	}
	return "expires in " + duration.HumanDuration(notAfter.Sub(now))
}

// keyOf names the algorithm and the size of a certificate's key.
func keyOf(certificate *x509.Certificate) string {
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	}
	if certificate.PublicKeyAlgorithm == x509.UnknownPublicKeyAlgorithm {
		return "unknown"
	}
	return certificate.PublicKeyAlgorithm.String()
}

// DecodePEM returns what is shown at now of the CERTIFICATE blocks of caBundle (PEM), in their order, those that the API server
// does not read among them. Of blocks of other types it shows nothing. origin, if it is not nil, says which certificate of
// the source one is.
func DecodePEM(now time.Time, caBundle []byte, origin func(*x509.Certificate) string) []Certificate {
	var decoded []Certificate
	for {
		var block *pem.Block
		if block, caBundle = pem.Decode(caBundle); block == nil {
			return decoded
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		number := len(decoded) + 1
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			sum := sha256.Sum256(block.Bytes)
			decoded = append(decoded, Certificate{Number: number, Fault: cabundle.CauseOf(err), Fingerprint: hex.EncodeToString(sum[:])})
			continue
		}
		one := describe(now, number, certificate)
		if len(block.Headers) > 0 {
			one.Fault = "it has PEM headers: the API server passes over it"
		}
		if origin != nil {
			one.Origin = origin(certificate)
		}
		decoded = append(decoded, one)
	}
}
