package cabundle

import (
	"cmp"
	"crypto/x509"
	"maps"
	"slices"
	"time"
)

// maxTombstones is how many certificates that are not published any more a History remembers: the latest ones.
const maxTombstones = 64

// History is what is known of the certificates of one source over time: which it had, in which order they were first seen,
// which it has now, and which must not be in use any more. The replicas of caject share it: each merges what it has seen
// itself with what is stored.
//
// Merge is commutative, associative and idempotent, and each of the other methods only moves a History upwards in the
// order that Merge defines. So replicas that see different parts of what happens, in any order, come to the same History.
// The zero value knows nothing.
//
// Versions order the readings of a source: a version is the resourceVersion of the source if that has grown, else one
// more than the version before (a source without one, or a cluster that was restored from a backup).
type History struct {
	// Observed is the version of the latest reading that brought something new. What the source has now are the
	// certificates whose Last is Observed.
	Observed int64 `json:"observed"`
	// Withdrawn is the version at which the source was last found not to allow injection. Certificates that it has not
	// had since then are not published.
	Withdrawn int64 `json:"withdrawn,omitempty"`
	// Known are all certificates, by Fingerprint.
	Known map[string]Known `json:"known,omitempty"`
}

// Known is what a History knows of one certificate. In JSON it is without the certificate itself: see History.Fill.
type Known struct {
	// Certificate is nil if it is not published any more, and was forgotten.
	Certificate *x509.Certificate `json:"-"`
	NotBefore   time.Time         `json:"notBefore"`
	NotAfter    time.Time         `json:"notAfter"`
	// First is the version at which the source was first seen to hold it, and Place where it stood then.
	First int64 `json:"first"`
	Place int   `json:"place,omitempty"`
	// Last is the version at which the source was last seen to hold it.
	Last int64 `json:"last"`
	// Gone is when the source was first seen not to hold it any more after Last; zero while it does.
	Gone time.Time `json:"gone,omitzero"`
	// Retired is the value of Last at which it was retired. The source may hold it again later: then Last is larger, and
	// it is not retired.
	Retired int64 `json:"retired,omitempty"`
	// Distrust counts how often it was distrusted and trusted again: an odd number means that it is distrusted.
	Distrust int `json:"distrust,omitempty"`
}

func (k Known) retired() bool    { return k.Retired >= k.Last }
func (k Known) distrusted() bool { return k.Distrust%2 == 1 }

// merge returns the least Known that is at least k and other.
func (k Known) merge(other Known) Known {
	merged := k
	if merged.Certificate == nil {
		merged.Certificate = other.Certificate
	}
	if cmp.Or(cmp.Compare(other.First, k.First), cmp.Compare(other.Place, k.Place)) < 0 {
		merged.First, merged.Place = other.First, other.Place
	}
	switch {
	case other.Last > k.Last:
		merged.Last, merged.Gone = other.Last, other.Gone
	case other.Last == k.Last && !other.Gone.IsZero() && (k.Gone.IsZero() || other.Gone.Before(k.Gone)):
		merged.Gone = other.Gone
	}
	merged.Retired = max(k.Retired, other.Retired)
	merged.Distrust = max(k.Distrust, other.Distrust)
	return merged
}

// Merge returns what h and other know together. It changes neither.
func (h History) Merge(other History) History {
	merged := h.clone()
	merged.Observed = max(h.Observed, other.Observed)
	merged.Withdrawn = max(h.Withdrawn, other.Withdrawn)
	for fingerprint, known := range other.Known {
		if mine, ok := merged.Known[fingerprint]; ok {
			known = mine.merge(known)
		}
		merged.Known[fingerprint] = known
	}
	return merged
}

func (h History) clone() History {
	h.Known = maps.Clone(h.Known)
	if h.Known == nil {
		h.Known = map[string]Known{}
	}
	return h
}

// Observe returns h after r, a reading that is newer than all that h knows. A reading that brings nothing new leaves h as
// it is. Expired certificates count as absent on both sides, so that replicas whose clocks differ agree.
//
// A source that cannot be read, or gives nothing, says nothing about its certificates: what was there stays. Only one that
// does not allow injection (any more) has them withdrawn.
//
// Fingerprints that r distrusts, or trusts again, count for certificates that the source is known to have had: nobody can
// withdraw what others supply. To distrust wins.
func (h History) Observe(now time.Time, r Reading) History {
	after := h.clone()
	switch {
	case r.Problem == nil:
		if !h.has(now, r.Bundle) {
			after.Observed = max(r.Version, h.Observed+1)
		}
		after.hold(r.Bundle, after.Observed > h.Observed)
	case r.Problem.Withdrawn() && slices.ContainsFunc(h.all(), h.published):
		after.Observed = max(r.Version, h.Observed+1)
		after.Withdrawn = after.Observed
	}
	after = after.Date(now)
	again := slices.DeleteFunc(slices.Clone(r.TrustedAgain), func(fingerprint string) bool {
		return slices.Contains(r.Distrusted, fingerprint)
	})
	after.turn(r.Distrusted, 1)
	after.turn(again, 0)
	return after
}

// Date returns h with now as the time at which those certificates were found to be gone for which none is known yet: a Merge has shown
// that the source does not hold them any more.
func (h History) Date(now time.Time) History {
	dated := h.clone()
	for fingerprint, known := range dated.Known {
		if known.Last != dated.Observed && known.Gone.IsZero() {
			known.Gone = now.UTC().Truncate(time.Second)
			dated.Known[fingerprint] = known
		}
	}
	return dated
}

// hold notes in h that the source holds bundle. If that is nothing new, it only completes what was forgotten.
func (h History) hold(bundle Bundle, isNew bool) {
	for place, certificate := range bundle.Certificates() {
		fingerprint := Fingerprint(certificate)
		known, ok := h.Known[fingerprint]
		if !ok && isNew {
			known = Known{NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter, First: h.Observed, Place: place}
		}
		if isNew {
			known.Last, known.Gone = h.Observed, time.Time{}
		}
		if ok || isNew {
			known.Certificate = certificate
			h.Known[fingerprint] = known
		}
	}
}

// turn has the named certificates distrusted (1) or trusted (0) in h.
func (h History) turn(fingerprints []string, wanted int) {
	for _, fingerprint := range fingerprints {
		if known, ok := h.Known[fingerprint]; ok && known.Distrust%2 != wanted {
			known.Distrust++
			h.Known[fingerprint] = known
		}
	}
}

// Retire returns h with those certificates retired that left the source at least after ago. Nothing is retired while the
// source has no good certificate: then the old ones are the only ones.
func (h History) Retire(now time.Time, after time.Duration) History {
	if after <= 0 || !slices.ContainsFunc(h.all(), func(k entry) bool {
		return h.current(k) && !k.distrusted() && now.Before(k.NotAfter)
	}) {
		return h
	}
	retired := h.clone()
	for fingerprint, known := range h.Known {
		if !known.Gone.IsZero() && now.Sub(known.Gone) >= after && known.Retired < known.Last {
			known.Retired = known.Last
			retired.Known[fingerprint] = known
		}
	}
	return retired
}

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

// expiresSoon reports whether k is so near to its end that it is not published anew: by that much the clocks of two replicas
// may differ without one that puts it in and one that takes it out. It is the last hour, or the last tenth of a shorter life.
func (k Known) expiresSoon(now time.Time) bool {
	return now.After(k.NotAfter.Add(-min(time.Hour, k.NotAfter.Sub(k.NotBefore)/10)))
}

// Adds reports whether h, which has been merged with stored, says anything that stored does not say: then it is to be
// stored. Numbers and times that mean the same do not count, nor does a certificate that will soon expire.
func (h History) Adds(now time.Time, stored History) bool {
	for fingerprint, mine := range h.Known {
		theirs, ok := stored.Known[fingerprint]
		k := entry{mine, fingerprint}
		switch {
		case !ok && !h.current(k) && mine.expiresSoon(now):
		case !ok, h.current(k) != stored.current(entry{theirs, fingerprint}),
			mine.Gone.IsZero() != theirs.Gone.IsZero(), (mine.Last > h.Withdrawn) != (theirs.Last > stored.Withdrawn),
			mine.retired() != theirs.retired(), mine.Distrust != theirs.Distrust:
			return true
		}
	}
	for fingerprint := range stored.Known {
		if _, ok := h.Known[fingerprint]; !ok {
			return true
		}
	}
	return false
}

// Trim returns h without what need not be remembered: certificates that have expired, those that would make Bundle longer
// than limit bytes of PEM, and all but the latest tombstones. The oldest go first; what the source holds stays. dropped is
// how many certificates were dropped for want of room.
func (h History) Trim(now time.Time, limit int) (trimmed History, dropped int) {
	trimmed = h.clone()
	room := limit
	for _, k := range h.all() {
		if h.current(k) && h.published(k) && !k.distrusted() {
			room -= pemLength(k.Certificate)
		}
	}
	tombstones := 0
	for _, k := range slices.Backward(h.all()) {
		switch {
		case h.current(k):
		case now.After(k.NotAfter):
			delete(trimmed.Known, k.fingerprint)
		case !h.published(k) || k.distrusted():
			if tombstones++; tombstones > maxTombstones {
				delete(trimmed.Known, k.fingerprint)
			}
		default:
			if room -= pemLength(k.Certificate); room < 0 {
				delete(trimmed.Known, k.fingerprint)
				dropped++
			}
		}
	}
	return trimmed, dropped
}

// Complete returns h with the certificates that it has forgotten and other has not.
func (h History) Complete(other History) History {
	var certificates Bundle
	for _, known := range other.Known {
		if known.Certificate != nil {
			certificates.certificates = append(certificates.certificates, known.Certificate)
		}
	}
	return h.Fill(certificates)
}

// Fill returns h with those certificates of bundle that it knows and has forgotten.
func (h History) Fill(bundle Bundle) History {
	h = h.clone()
	for _, certificate := range bundle.certificates {
		fingerprint := Fingerprint(certificate)
		if known, ok := h.Known[fingerprint]; ok && known.Certificate == nil {
			known.Certificate = certificate
			h.Known[fingerprint] = known
		}
	}
	return h
}

// review returns when time alone next changes what h means, or the zero time if it never does: a certificate expires, or was
// gone for retireAfter (0: none is retired).
func (h History) review(now time.Time, retireAfter time.Duration) time.Time {
	var first time.Time
	at := func(at time.Time) {
		if at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	for _, known := range h.Known {
		at(known.NotAfter)
		if retireAfter > 0 && !known.Gone.IsZero() && !known.retired() {
			at(known.Gone.Add(retireAfter))
		}
	}
	return first
}
