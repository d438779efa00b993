package resync

import (
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// combine says what becomes of the certificates that a caBundle of a target of ref holds already.
func (p *publisher) combine(ref cabundle.Reference) cabundle.Combine {
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	return p.options.Combine.Without(of.retired)
}

// combine is that of the publisher, if there is one: it alone remembers when a certificate has left the source.
func (r *Resync) combine(ref cabundle.Reference) cabundle.Combine {
	if r.publisher == nil {
		return r.options.Combine
	}
	return r.publisher.combine(ref)
}

// retire notes which certificates left the source long enough ago, and has the targets looked at if there is another one. The
// CABundle's status remembers them until all targets are right, so that this survives whoever began it.
func (p *publisher) retire(ref cabundle.Reference, of *publication) {
	object, _, last := of.known()
	retired := retiredOf(p.clock.Now(), object, last, p.options.RetireAfter)
	of.mu.Lock()
	another := false
	for fingerprint := range retired {
		another = another || !of.retired[fingerprint]
	}
	of.retired = retired
	if another {
		of.written = false
	}
	of.mu.Unlock()
	if another {
		p.tracker.refresh(ref, metrics.Resync, true, func(state) bool { return true })
	}
}

// retiredOf returns the fingerprints of the certificates that the source was last seen to hold at least after ago; none if
// after is 0, or while the source is of no use: then what was there is all there is.
func retiredOf(now time.Time, object *v1alpha1.CABundle, last reading, after time.Duration) map[string]bool {
	if object == nil || after == 0 || problemOf(now, last) != nil {
		return nil
	}
	retired := map[string]bool{}
	for _, certificate := range object.Status.Certificates {
		if certificate.LastSeen != nil && now.Sub(certificate.LastSeen.Time) >= after {
			retired[certificate.Fingerprint] = true
		}
	}
	return retired
}
