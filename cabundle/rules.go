package cabundle

import (
	"crypto/x509"
	"slices"
	"time"
)

// Rules are what the operator decides about how bundles are combined. They are the same for each way of delivery.
type Rules struct {
	// Replace has a source's certificates take the place of those that a caBundle holds: see [Replace].
	Replace bool
	// RetireAfter is how long after a certificate has left its source it leaves the targets; 0 means when it expires.
	RetireAfter time.Duration
	// Distrusted are certificates, by Fingerprint, that no target may hold any more, whatever source has them.
	Distrusted []string
}

// Combine returns what becomes of a caBundle whose source has history: a Combine.
//
// It gets all that the source has and had, so that an object that is created, reset or switched to another source amid a
// rotation trusts the old CA, too. What is retired or distrusted leaves. If the source holds nothing that is
// trusted, what is there stays (see [Rules.Judge]), and where nothing is, the caBundle gets what the source had: an unexpired
// certificate that may still be in use is worth more than none.
func (r Rules) Combine(history History) Combine {
	distrusted := r.distrusts(history)
	return func(now time.Time, existing, source Bundle) Bundle {
		if source = source.without(distrusted); source.Empty() {
			if existing.Empty() {
				return r.had(history, now)
			}
			return existing
		}
		if r.Replace {
			return Replace(now, existing, source)
		}
		existing = existing.without(func(c *x509.Certificate) bool {
			return distrusted(c) || history.retired(c) && !source.Holds(c)
		})
		return Merge(now, Merge(now, existing, history.Bundle(now).without(distrusted)), source)
	}
}

// had returns the unexpired certificates that are published of a source with history while nothing can be had from it.
func (r Rules) had(history History, now time.Time) Bundle {
	bundle := history.Bundle(now)
	if r.Replace {
		bundle = history.Current()
	}
	return bundle.without(r.distrusts(history)).Unexpired(now)
}

// Observe returns history after a reading that is newer than all that it knows, with what the rules retire and distrust.
func (r Rules) Observe(now time.Time, history History, reading Reading) History {
	reading.Distrusted = slices.Concat(reading.Distrusted, r.Distrusted)
	history = history.Observe(now, reading)
	if reading.Problem != nil {
		return history
	}
	return history.Retire(now, r.RetireAfter)
}

// Judge returns reading as targets are to be filled from it: of reason SourceDistrusted, if all its unexpired certificates are
// distrusted. Then it is injected nowhere anew, but stays in targets that hold it. An empty caBundle would not mean that nobody
// is trusted: the API server then trusts the public CAs of its machine.
func (r Rules) Judge(now time.Time, history History, reading Reading) Reading {
	if len(r.Distrusted) == 0 && !history.distrusts() {
		return reading
	}
	good := reading.Bundle.Unexpired(now)
	if good.Empty() || !good.without(r.distrusts(history)).Empty() {
		return reading
	}
	reading.Bundle, reading.Problem = Bundle{}, &Problem{
		Reason: SourceDistrusted,
		Detail: "every certificate of the source is distrusted",
		Remedy: "let it have a new CA; until then targets keep what they hold",
	}
	return reading
}

// Review returns when time alone next changes what history means, or the zero time if it never does.
func (r Rules) Review(now time.Time, history History) time.Time {
	return history.review(now, r.RetireAfter)
}

// Published returns what is published of a source with history, when reading is the latest and before was published: see
// [History.BundleAfter]. With Replace it is what reading has, or before if that is of no use.
func (r Rules) Published(now time.Time, history History, reading Reading, before Bundle) Bundle {
	switch {
	case !r.Replace:
		published := map[string]bool{}
		for _, certificate := range before.certificates {
			published[Fingerprint(certificate)] = true
		}
		return history.BundleAfter(now, published)
	case reading.Problem != nil && reading.Problem.Withdrawn():
		return Bundle{}
	case reading.Problem != nil || reading.Bundle.Unexpired(now).Empty():
		return before.without(r.distrusts(history))
	}
	return reading.Bundle.without(r.distrusts(history))
}

// distrusts returns a function that reports whether a certificate must not be used.
func (r Rules) distrusts(history History) func(*x509.Certificate) bool {
	return func(c *x509.Certificate) bool {
		return history.Distrusted(c) || slices.Contains(r.Distrusted, Fingerprint(c))
	}
}
