package cabundle

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"time"
)

// MaxSourceBytes is the most that a source's ca.crt may hold, in bytes of PEM. A bundle is copied into every webhook
// of every target, and the API server refuses the person's own request if that passes etcd's limit.
const MaxSourceBytes = 64 << 10

const certificateBlock = "CERTIFICATE"

// Bundle is an ordered list of certificates. The zero value is empty.
type Bundle struct {
	certificates []*x509.Certificate
}

// ParseSource reads a source's ca.crt (PEM). It is strict, since the result is copied to objects that everybody can
// read: anything but CERTIFICATE blocks, headers in them included, refuses the whole, as does a block that cannot be
// decoded. Text between the blocks is accepted and dropped. The Problem is of reason SourceInvalid or
// SourceTooLarge; its Detail begins with "ca.crt" for the caller to prefix with the object.
func ParseSource(ca []byte) (Bundle, *Problem) {
	if len(ca) > MaxSourceBytes {
		return Bundle{}, tooLarge(len(ca))
	}
	bundle, wrong := parseStrict(ca)
	if wrong != "" {
		return Bundle{}, &Problem{
			Reason: SourceInvalid,
			Detail: "ca.crt " + wrong,
			Remedy: "only PEM blocks of type CERTIFICATE may be in it",
		}
	}
	// With long lines, or without line ends, it is shorter than what is written.
	if size := len(bundle.PEM()); size > MaxSourceBytes {
		return Bundle{}, tooLarge(size)
	}
	return bundle, nil
}

func tooLarge(size int) *Problem {
	return &Problem{
		Reason: SourceTooLarge,
		Detail: fmt.Sprintf("ca.crt has %d bytes, more than %d", size, MaxSourceBytes),
		Remedy: "keep only the CA certificates that are needed",
	}
}

// parseStrict reads PEM that holds certificates and nothing else but text between them, or says what is wrong.
func parseStrict(ca []byte) (Bundle, string) {
	invalid := func(format string, args ...any) (Bundle, string) {
		return Bundle{}, fmt.Sprintf(format, args...)
	}
	var bundle Bundle
	// pem.Decode passes over a block that it cannot read, so they are counted by their first line.
	begun := bytes.Count(ca, []byte("-----BEGIN"))
	for n := 1; ; n++ {
		var block *pem.Block
		if block, ca = pem.Decode(ca); block == nil {
			break
		}
		begun--
		if block.Type != certificateBlock {
			return invalid("holds a block of type %q", shorten(block.Type))
		}
		if len(block.Headers) > 0 {
			return invalid("has PEM headers in block %d", n)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return invalid("block %d is not a certificate (%v)", n, err)
		}
		bundle.certificates = append(bundle.certificates, certificate)
	}
	if begun > 0 {
		return invalid("holds a PEM block that cannot be decoded")
	}
	if bundle.Empty() {
		return invalid("holds no certificate")
	}
	return bundle, ""
}

// is reports that caBundle (PEM) holds the certificates of b, in the same order, and nothing else but text between
// them. Then it is as good as b's own PEM, and not to be written for the sake of a comment or a line end.
func (b Bundle) is(caBundle []byte) bool {
	held, wrong := parseStrict(caBundle)
	return wrong == "" && slices.EqualFunc(held.certificates, b.certificates, (*x509.Certificate).Equal)
}

// ParseExisting reads what a caBundle field holds (PEM). It is lenient: of a partly damaged value the good
// certificates are kept. A placeholder (a newline, white space, junk) gives an empty Bundle.
func ParseExisting(caBundle []byte) Bundle {
	var bundle Bundle
	for {
		var block *pem.Block
		if block, caBundle = pem.Decode(caBundle); block == nil {
			return bundle
		}
		if block.Type != certificateBlock {
			continue
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			bundle.certificates = append(bundle.certificates, certificate)
		}
	}
}

// Empty reports that there is no certificate in b.
func (b Bundle) Empty() bool { return len(b.certificates) == 0 }

// Certificates returns the certificates in order. The caller does not change them.
func (b Bundle) Certificates() []*x509.Certificate { return b.certificates }

// Unexpired returns b without duplicates (the same DER) and without what has expired at now. Certificates that are not
// yet valid stay.
func (b Bundle) Unexpired(now time.Time) Bundle {
	var kept Bundle
	seen := make(map[string]bool, len(b.certificates))
	for _, certificate := range b.certificates {
		der := string(certificate.Raw)
		if seen[der] || now.After(certificate.NotAfter) {
			continue
		}
		seen[der] = true
		kept.certificates = append(kept.certificates, certificate)
	}
	return kept
}

// PEM returns b as CERTIFICATE blocks and nothing else; the same certificates always give the same bytes.
func (b Bundle) PEM() []byte {
	var out bytes.Buffer
	for _, certificate := range b.certificates {
		// Writing to a buffer cannot fail, and there are no headers to reject.
		_ = pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: certificate.Raw})
	}
	return out.Bytes()
}

// Digest returns the SHA-256 of PEM in hex: two bundles with the same digest fill a target with the same bytes.
func (b Bundle) Digest() string {
	sum := sha256.Sum256(b.PEM())
	return hex.EncodeToString(sum[:])
}

// Fingerprint returns the SHA-256 of a certificate's DER, in hex.
func Fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// FirstExpiry returns when the first certificate of b expires, or the zero time if b is empty.
func (b Bundle) FirstExpiry() time.Time {
	var first time.Time
	for _, certificate := range b.certificates {
		if first.IsZero() || certificate.NotAfter.Before(first) {
			first = certificate.NotAfter
		}
	}
	return first
}
