package cabundle

import (
	"cmp"
	"crypto/x509"
	"slices"
	"time"
)

// retired reports whether certificate must leave targets, unless the source holds it.
func (h History) retired(certificate *x509.Certificate) bool {
	known, ok := h.Known[Fingerprint(certificate)]
	return ok && known.retired()
}

// Distrusted reports whether certificate must not be used, even though the source holds it.
func (h History) Distrusted(certificate *x509.Certificate) bool {
	return h.Known[Fingerprint(certificate)].distrusted()
}

func (h History) distrusts() bool {
	for _, known := range h.Known {
		if known.distrusted() {
			return true
		}
	}
	return false
}

// Verdicts returns the fingerprints of the unwanted certificates, sorted: targets are looked at again when this changes.
func (h History) Verdicts() []string {
	var unwanted []string
	for fingerprint, known := range h.Known {
		if known.retired() || known.distrusted() {
			unwanted = append(unwanted, fingerprint)
		}
	}
	slices.Sort(unwanted)
	return unwanted
}

// entry is a Known with its fingerprint.
type entry struct {
	Known
	fingerprint string
}

// all returns all entries, those that were first seen first.
func (h History) all() []entry {
	all := make([]entry, 0, len(h.Known))
	for fingerprint, known := range h.Known {
		all = append(all, entry{known, fingerprint})
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Place, b.Place), cmp.Compare(a.fingerprint, b.fingerprint))
	})
	return all
}

// current reports whether the source holds k now.
func (h History) current(k entry) bool { return k.Last == h.Observed }

// published reports whether k may be published, its expiry and distrust aside.
func (h History) published(k entry) bool {
	return k.Certificate != nil && k.Last > h.Withdrawn && !k.retired()
}

// has reports whether the source is known to hold the certificates of bundle and no others, the expired ones aside.
func (h History) has(now time.Time, bundle Bundle) bool {
	wanted := map[string]bool{}
	for _, certificate := range bundle.Unexpired(now).Certificates() {
		wanted[Fingerprint(certificate)] = true
	}
	held := 0
	for _, k := range h.all() {
		if h.current(k) && k.Last > h.Withdrawn && !now.After(k.NotAfter) {
			if !wanted[k.fingerprint] {
				return false
			}
			held++
		}
	}
	return held == len(wanted)
}

// Current returns the certificates that the source is known to hold, in the order in which they were first seen.
func (h History) Current() Bundle {
	return h.bundle(func(k entry) bool { return h.published(k) && h.current(k) })
}

// Bundle returns what targets of the source hold when nothing else is in them: the certificates that the source has and
// had and that are in use, those that were seen first first.
//
// What has expired is left out, unless nothing else is left. What is retired or distrusted is left out in any case.
func (h History) Bundle(now time.Time) Bundle { return h.BundleAfter(now, nil) }

// BundleAfter is Bundle for a source of which before was published, fingerprints of certificates. A certificate that
// before does not hold, that the source has no more and that will soon expire is left out, too: the replica that published before may
// have a clock that is ahead, and would take it out again.
func (h History) BundleAfter(now time.Time, before map[string]bool) Bundle {
	good := func(k entry) bool {
		return before == nil || before[k.fingerprint] || h.current(k) || !k.expiresSoon(now)
	}
	for _, accepted := range []func(entry) bool{
		func(k entry) bool { return !k.distrusted() && !now.After(k.NotAfter) && good(k) },
		func(k entry) bool { return !k.distrusted() && !now.After(k.NotAfter) },
		func(k entry) bool { return !k.distrusted() },
	} {
		if bundle := h.bundle(func(k entry) bool { return h.published(k) && accepted(k) }); !bundle.Empty() {
			return bundle
		}
	}
	return Bundle{}
}

func (h History) bundle(wanted func(entry) bool) Bundle {
	var bundle Bundle
	for _, k := range h.all() {
		if wanted(k) {
			bundle.certificates = append(bundle.certificates, k.Certificate)
		}
	}
	return bundle
}
