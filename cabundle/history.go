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
