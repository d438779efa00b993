package audit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/caject/caject/cabundle"
)

const (
	minRSABits   = 2048 // NIST SP 800-57, CA/Browser Forum
	minECDSABits = 256
)

// certificates returns what is weak about all, which holder holds: one Issue for each code.
func certificates(object, holder string, all []*x509.Certificate) []Issue {
	var leaves, own, keys, signatures []string
	for _, certificate := range all {
		name := describe(certificate)
		switch {
		case mayIssue(certificate):
		case selfIssued(certificate):
			own = append(own, name)
		default:
			leaves = append(leaves, name)
		}
		if key := weakKey(certificate); key != "" {
			keys = append(keys, name+" has "+key)
		}
		if !selfIssued(certificate) && weakSignature(certificate.SignatureAlgorithm) {
			signatures = append(signatures, name+" has "+certificate.SignatureAlgorithm.String())
		}
	}
	var found []Issue
	if len(leaves) > 0 {
		found = append(found, issue(CertificateNotCA, object, holder+" holds "+firstOf(leaves)+", which may not issue others",
			"a caBundle is for the CA that issues the server's certificate: put that into ca.crt"))
	}
	if len(own) > 0 {
		found = append(found, issue(CertificateNotCA, object, holder+" holds "+firstOf(own)+", a server's own certificate that nobody else has issued",
			"it works; but each renewal changes what has to be trusted: a CA of its own for the server outlives it").as(Info))
	}
	if len(keys) > 0 {
		found = append(found, issue(WeakKey, object, holder+": "+firstOf(keys), "have it issued anew: RSA with 2048 bits at least, or ECDSA P-256"))
	}
	if len(signatures) > 0 {
		found = append(found, issue(WeakSignature, object, holder+": "+firstOf(signatures), "have it issued anew with SHA-256: where the API server has to check that signature it does not accept it"))
	}
	return found
}

// mayIssue reports whether certificate may issue others, as crypto/x509 sees it (CheckSignatureFrom): one of version 1 may.
func mayIssue(certificate *x509.Certificate) bool {
	if certificate.Version == 3 && !certificate.BasicConstraintsValid || certificate.BasicConstraintsValid && !certificate.IsCA {
		return false
	}
	return certificate.KeyUsage == 0 || certificate.KeyUsage&x509.KeyUsageCertSign != 0
}

// selfIssued reports whether certificate names itself as its issuer. Nobody goes by its signature then.
func selfIssued(certificate *x509.Certificate) bool {
	return bytes.Equal(certificate.RawIssuer, certificate.RawSubject)
}

// weakKey says what is weak about the key of certificate, or nothing.
func weakKey(certificate *x509.Certificate) string {
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return fmt.Sprintf("an RSA key of %d bits", bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits < minECDSABits {
			return fmt.Sprintf("an ECDSA key of %d bits", bits)
		}
	}
	if certificate.PublicKeyAlgorithm == x509.DSA {
		return "a DSA key"
	}
	return ""
}

func weakSignature(algorithm x509.SignatureAlgorithm) bool {
	return slices.Contains([]x509.SignatureAlgorithm{
		x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
	}, algorithm)
}

// duplicated returns the certificates that bundle holds more than once.
func duplicated(bundle cabundle.Bundle) []*x509.Certificate {
	var twice []*x509.Certificate
	all := bundle.Certificates()
	for i, certificate := range all {
		if slices.ContainsFunc(all[:i], certificate.Equal) {
			twice = append(twice, certificate)
		}
	}
	return unique(twice)
}

// unique returns all without repetitions.
func unique(all []*x509.Certificate) []*x509.Certificate {
	var kept []*x509.Certificate
	for _, certificate := range all {
		if !slices.ContainsFunc(kept, certificate.Equal) {
			kept = append(kept, certificate)
		}
	}
	return kept
}

// describe names a certificate: by its subject, and the beginning of its fingerprint.
func describe(certificate *x509.Certificate) string {
	subject := certificate.Subject.String()
	if subject == "" {
		subject = "a certificate without subject"
	}
	return fmt.Sprintf("%s [%.8s]", subject, cabundle.Fingerprint(certificate))
}

// list names the first few of all.
func list(all []*x509.Certificate) string {
	names := make([]string, len(all))
	for i, certificate := range all {
		names[i] = describe(certificate)
	}
	return firstOf(names)
}

func have(all []*x509.Certificate) string { return number(len(all), "has", "have") }

func are(all []*x509.Certificate) string { return number(len(all), "is", "are") }

func number(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}
