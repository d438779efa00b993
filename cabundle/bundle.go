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

// Bundle is an ordered list of certificates. The zero value is empty.
type Bundle struct {
	certificates []*x509.Certificate
}

// ParseSource reads a source's ca.crt (PEM). It is strict, since the result is copied to objects that everybody can
// read: anything but CERTIFICATE blocks, headers in them included, refuses the whole, as does a block that cannot be
// decoded. Text between the blocks is accepted and dropped.
//
// A certificate that Go cannot parse, and so the API server neither, is left out, if there are others. leftOut names it by its place and
// the cause, such as "certificate 2 of 3: negative serial number".
//
// The Problem is of reason SourceInvalid or SourceTooLarge; its Detail begins with "ca.crt" for the caller to prefix with the object.
// Nothing of what is in ca is repeated in it or in leftOut.
func ParseSource(ca []byte) (bundle Bundle, leftOut []string, problem *Problem) {
	if len(ca) > MaxSourceBytes {
		return Bundle{}, nil, tooLarge(len(ca))
	}
	bundle, leftOut, wrong := parseStrict(ca)
	if wrong != nil {
		return Bundle{}, nil, &Problem{Reason: SourceInvalid, Detail: "ca.crt " + wrong.detail, Remedy: wrong.remedy}
	}
	// With long lines, or without line ends, it is shorter than what is written.
	if size := len(bundle.PEM()); size > MaxSourceBytes {
		return Bundle{}, nil, tooLarge(size)
	}
	return bundle, leftOut, nil
}

func tooLarge(size int) *Problem {
	return &Problem{
		Reason: SourceTooLarge,
		Detail: fmt.Sprintf("ca.crt has %d bytes, more than %d", size, MaxSourceBytes),
		Remedy: "keep only the CA certificates that are needed",
	}
}

// parseStrict reads PEM that holds certificates and nothing else but text between them, or says what is wrong.
func parseStrict(ca []byte) (bundle Bundle, leftOut []string, wrong *fault) {
	blocks, wrong := scanPEM(ca)
	if wrong == nil && len(blocks) == 0 {
		wrong = noBlock(ca)
	}
	if wrong != nil {
		return Bundle{}, nil, wrong
	}
	ders := make([][]byte, len(blocks))
	for i, block := range blocks {
		if ders[i], wrong = block.decode(i + 1); wrong != nil {
			return Bundle{}, nil, wrong
		}
	}
	if bundle, leftOut = parseAll(ders); bundle.Empty() {
		return Bundle{}, nil, faultf("have it issued anew", "holds no certificate that the API server can read: %s", listed(leftOut))
	}
	return bundle, leftOut, nil
}

// is reports that caBundle (PEM) holds the certificates of b, in the same order, and nothing else but text between
// them. Then it is as good as b's own PEM, and not to be written for the sake of a comment or a line end.
func (b Bundle) is(caBundle []byte) bool {
	held, leftOut, wrong := parseStrict(caBundle)
	return wrong == nil && len(leftOut) == 0 && slices.EqualFunc(held.certificates, b.certificates, (*x509.Certificate).Equal)
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
