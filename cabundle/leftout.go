package cabundle

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// causes are what crypto/x509 says of a certificate that it cannot parse, as far as messages repeat it: others have something of the
// certificate in them.
var causes = []string{
	"negative serial number", "unsupported elliptic curve", "inner and outer signature algorithm identifiers don't match",
	"invalid RDNSequence: invalid attribute value: invalid PrintableString", "invalid RDNSequence: invalid attribute value: invalid UTF-8 string",
	"invalid RDNSequence: invalid attribute value: invalid IA5String", "RSA key missing NULL parameters", "invalid RSA public key", "invalid RSA modulus",
	"invalid RSA public exponent", "RSA modulus is not a positive number", "RSA public exponent is not a positive number",
	"invalid ECDSA parameters", "invalid basic constraints", "invalid key usage", "invalid version", "malformed UTCTime",
	"malformed GeneralizedTime", "unsupported time format", "SAN dNSName is malformed", "invalid subject alternative names",
	"authority key identifier incorrectly marked critical", "subject key identifier incorrectly marked critical",
	"authority info access incorrectly marked critical", "invalid NameConstraints extension", "empty name constraints extension",
}

// CauseOf returns why crypto/x509 cannot parse a certificate, without anything of the certificate in it.
func CauseOf(err error) string {
	if cause := strings.TrimPrefix(err.Error(), "x509: "); slices.Contains(causes, cause) {
		return cause
	}
	return "malformed"
}

// parseAll parses certificates in DER. Those that Go cannot parse, and so the API server neither, are left out, and named by their
// place and the cause.
func parseAll(ders [][]byte) (bundle Bundle, leftOut []string) {
	for i, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			leftOut = append(leftOut, fmt.Sprintf("certificate %d of %d: %s", i+1, len(ders), CauseOf(err)))
			continue
		}
		bundle.certificates = append(bundle.certificates, certificate)
	}
	return bundle, leftOut
}

// LeftOutMessage says in one line that certificates of a source are not injected; leftOut is that of a Reading.
func LeftOutMessage(leftOut []string) string {
	return "left out of the bundle, since the API server cannot read it either: " + listed(leftOut) + " (have it issued anew, or take it out of ca.crt)"
}

// listed joins the first few of leftOut.
func listed(leftOut []string) string {
	const most = 3
	if more := len(leftOut) - most; more > 0 {
		return strings.Join(leftOut[:most], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(leftOut, "; ")
}

// certificateForm reports whether der is one ASN.1 value that has the form of a certificate (RFC 5280), whether Go can parse it or not.
// A request, a revocation list or a key has another one.
func certificateForm(der []byte) bool {
	certificate, rest, ok := element(der)
	if !ok || len(rest) > 0 || !isSequence(certificate) {
		return false
	}
	parts, ok := elements(certificate.Bytes)
	if !ok || len(parts) != 3 || !isSequence(parts[0]) || !isSequence(parts[1]) || !isUniversal(parts[2], asn1.TagBitString) {
		return false
	}
	fields, ok := elements(parts[0].Bytes)
	if ok && len(fields) > 0 && fields[0].Class == asn1.ClassContextSpecific && fields[0].Tag == 0 { // version
		fields = fields[1:]
	}
	// serialNumber, then signature, issuer, validity, subject, subjectPublicKeyInfo, then what is optional.
	if !ok || len(fields) < 6 || !isUniversal(fields[0], asn1.TagInteger) {
		return false
	}
	optional := func(v asn1.RawValue) bool { return v.Class == asn1.ClassContextSpecific }
	return !slices.ContainsFunc(fields[1:6], func(v asn1.RawValue) bool { return !isSequence(v) }) &&
		!slices.ContainsFunc(fields[6:], func(v asn1.RawValue) bool { return !optional(v) })
}

// cutShort reports whether der begins as a certificate does, and is shorter than it says itself.
func cutShort(der []byte) bool {
	const header = 4 // the tag of a sequence, and a length in two bytes
	return len(der) >= header && der[0] == 0x30 && der[1] == 0x82 && header+(int(der[2])<<8|int(der[3])) > len(der)
}

func element(der []byte) (value asn1.RawValue, rest []byte, ok bool) {
	rest, err := asn1.Unmarshal(der, &value)
	return value, rest, err == nil
}

// elements returns the values that der is made of.
func elements(der []byte) (values []asn1.RawValue, ok bool) {
	for len(der) > 0 {
		value, rest, ok := element(der)
		if !ok {
			return nil, false
		}
		values, der = append(values, value), rest
	}
	return values, true
}

func isSequence(v asn1.RawValue) bool { return isUniversal(v, asn1.TagSequence) && v.IsCompound }

func isUniversal(v asn1.RawValue, tag int) bool {
	return v.Class == asn1.ClassUniversal && v.Tag == tag
}
