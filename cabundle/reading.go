package cabundle

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
)

// Reading is what one read of a source has found.
type Reading struct {
	// Bundle holds the source's certificates. It is empty if Problem is not nil.
	Bundle Bundle
	// LeftOut names certificates of the source that are not in Bundle, since Go cannot parse them: see ParseSource.
	LeftOut []string
	// Problem says why there are none; nil if there are.
	Problem *Problem
	// Version is the resourceVersion of the Secret as a number; for a Certificate the larger one of the Certificate's and its
	// Secret's. Of two readings of one source the larger Version is the newer one. It is 0 if nothing was read, and for the API
	// server's CA, which has none.
	Version int64
	// Distrusted and TrustedAgain are the fingerprints that the Secret names in DistrustAnnotation and TrustAgainAnnotation, in the
	// form of Fingerprint. They are known whenever the Secret was read, whatever the Problem with it is.
	Distrusted, TrustedAgain []string
}

// Outcome returns a text that two readings share if and only if they mean the same for targets: the Problem's Reason or the
// Bundle's Digest, then a minus and the sorted fingerprints that are distrusted, then a plus and those that are trusted again.
// For example:
//
//	SourceNotFound
//	5f0c… -19af…,c01d… +77b2…
func (r Reading) Outcome() string {
	outcome := ""
	if r.Problem != nil {
		outcome = string(r.Problem.Reason)
	} else {
		outcome = r.Bundle.Digest()
	}
	add := func(sign string, fingerprints []string) {
		if len(fingerprints) > 0 {
			outcome += sign + strings.Join(slices.Compact(slices.Sorted(slices.Values(fingerprints))), ",")
		}
	}
	add(" -", r.Distrusted)
	add(" +", r.TrustedAgain)
	return outcome
}

// Said returns what people are told of a reading beside its Outcome: why there are no certificates, or which are left out.
func (r Reading) Said() string {
	if r.Problem != nil {
		return r.Problem.Error()
	}
	return strings.Join(r.LeftOut, "; ")
}

// maxFingerprints is how many fingerprints one annotation may name. A ca.crt of MaxSourceBytes holds about as many certificates.
const maxFingerprints = 64

// ParseFingerprints reads the value of DistrustAnnotation or TrustAgainAnnotation: fingerprints with commas or white space
// between them. Upper case and colons, as openssl prints them, are accepted: "AB:CD:…" is "abcd…". Text that is no fingerprint
// is ignored. It returns the first 64 different ones, in the form of Fingerprint and in their order.
func ParseFingerprints(text string) []string {
	var fingerprints []string
	separates := func(r rune) bool { return r == ',' || unicode.IsSpace(r) }
	for word := range strings.FieldsFuncSeq(text, separates) {
		fingerprint := strings.ToLower(strings.ReplaceAll(word, ":", ""))
		if !isFingerprint(fingerprint) || slices.Contains(fingerprints, fingerprint) {
			continue
		}
		if fingerprints = append(fingerprints, fingerprint); len(fingerprints) == maxFingerprints {
			break
		}
	}
	return fingerprints
}

func isFingerprint(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == hex.EncodedLen(sha256.Size)
}
