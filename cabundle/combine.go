package cabundle

import (
	"crypto/x509"
	"slices"
	"time"
)

// Combine says what a caBundle holds once source has reached it: Merge, Replace, or what [Rules.Combine] makes of them. source is empty if it
// cannot be used; then existing is empty, too.
type Combine func(now time.Time, existing, source Bundle) Bundle

// Replace returns source as it is, whatever was there before: what cert-manager's cainjector does with its feature
// gate CAInjectorMerging off. During a rotation, what still serves a leaf of the old CA is not trusted.
func Replace(_ time.Time, _, source Bundle) Bundle { return source }

// Merge returns existing, then what source adds to it, without duplicates and without what has expired at now: a CA
// that is being rotated out stays trusted beside its successor. If nothing is left, existing is returned as it is:
// the last known good certificates are worth more than none.
func Merge(now time.Time, existing, source Bundle) Bundle {
	all := make([]*x509.Certificate, 0, len(existing.certificates)+len(source.certificates))
	all = append(append(all, existing.certificates...), source.certificates...)
	merged := Bundle{all}.Unexpired(now)
	if merged.Empty() {
		return existing
	}
	return merged
}

// cutTo returns b without the first of those certificates that keep does not hold, as many as it takes for the PEM to have no
// more than limit bytes, if that can be; dropped is how many.
func (b Bundle) cutTo(limit int, keep Bundle) (cut Bundle, dropped int) {
	surplus := len(b.PEM()) - limit
	cut = b.without(func(certificate *x509.Certificate) bool {
		if surplus <= 0 || keep.Holds(certificate) {
			return false
		}
		surplus -= pemLength(certificate)
		dropped++
		return true
	})
	return cut, dropped
}

// without returns b but for the certificates that unwanted names. It asks for each once, in order.
func (b Bundle) without(unwanted func(*x509.Certificate) bool) Bundle {
	return Bundle{slices.DeleteFunc(slices.Clone(b.certificates), unwanted)}
}

// Holds reports that certificate is in b.
func (b Bundle) Holds(certificate *x509.Certificate) bool {
	return slices.ContainsFunc(b.certificates, certificate.Equal)
}

// pemLength returns the length of a certificate's PEM, in bytes.
func pemLength(certificate *x509.Certificate) int {
	return len(Bundle{[]*x509.Certificate{certificate}}.PEM())
}
