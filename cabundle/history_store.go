package cabundle

import (
	"slices"
	"time"
)

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
