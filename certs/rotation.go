package certs

import (
	"crypto/x509"
	"errors"
	"time"

	"github.com/caject/caject/cabundle"
)

// dropMargin is how much longer than a leaf can be valid its CA stays trusted: a replica may have read the Secret just before
// another one had the next CA sign, and signs a moment later.
const dropMargin = requestTimeout

// step is what has to be done about the CA in the Secret.
type step string

// The steps. A rotation is prepare, promote and drop, each at its time.
const (
	nothing step = ""
	// create makes the first CA.
	create step = "Created"
	// restore puts back the CA that this process has read before.
	restore step = "Restored"
	// replace makes a CA in the place of one that is of no use.
	replace step = "Replaced"
	// adopt has the CA trusted, too, that this process has signed with before somebody put another one there.
	adopt step = "Adopted"
	// prepare makes the next CA, for all callers to trust.
	prepare step = "Prepared"
	// promote has the next CA sign from now on.
	promote step = "Promoted"
	// drop has CAs trusted no longer of which no leaf can be alive.
	drop step = "Dropped"
)

// rotation says what may be done when.
type rotation struct {
	caLifetime, leafLifetime time.Duration
	// trusted reports that all callers have trusted a CA for long enough.
	trusted func(*x509.Certificate) bool
	// others reports that another replica may still hold the CA that is missing from the Secret, and restore it.
	others func() bool
}

// errOthers says that it is for another replica to restore the CA.
var errOthers = errors.New("the CA is gone from the Secret; a replica that still has it is given time to restore it")

// remains are what of use is in a Secret that holds no good CA: CAs that are trusted, and the next one, or nil.
type remains struct {
	trusted cabundle.Bundle
	next    *pair
}

// plan returns what the Secret should hold instead of stored, and which step that is. wrong is why stored is nil; held is what
// this process read or wrote last, or nil; left is what a Secret that is wrong holds.
func (r rotation) plan(now time.Time, stored *authority, wrong error, held *authority, left remains) (*authority, step, error) {
	if wrong != nil {
		return r.repair(now, wrong, held, left)
	}
	next := *stored
	switch {
	case held != nil && !stored.trusted.Holds(held.certificate) && now.Before(held.certificate.NotAfter):
		next.trusted, next.signsSince = cabundle.Merge(now, held.trusted, stored.trusted), now
		return &next, adopt, nil
	case stored.next != nil && r.trusted(stored.next.certificate):
		next.pair, next.next, next.signsSince = *stored.next, nil, now
		return &next, promote, nil
	case stored.next == nil && !now.Before(renewAt(stored.certificate, r.caLifetime)):
		made, err := newPair(now, r.caLifetime)
		if err != nil {
			return nil, nothing, err
		}
		next.next, next.trusted = made, cabundle.Merge(now, stored.trusted, made.bundle())
		return &next, prepare, nil
	case r.surplus(now, stored):
		next.trusted = stored.pair.bundle()
		if stored.next != nil {
			next.trusted = cabundle.Merge(now, next.trusted, stored.next.bundle())
		}
		return &next, drop, nil
	}
	return stored, nothing, nil
}

// repair returns what a Secret that holds no good CA should hold.
func (r rotation) repair(now time.Time, wrong error, held *authority, left remains) (*authority, step, error) {
	switch {
	case held != nil && now.Before(held.certificate.NotAfter):
		// Whoever damaged it may have put anything among those that are trusted. What another replica has signed with, it adopts.
		return held, restore, nil
	case left.next != nil: // better than one that nobody trusts yet
		return &authority{pair: *left.next, trusted: left.trusted, signsSince: now}, promote, nil
	case r.others():
		return nil, nothing, errOthers
	}
	trusted := left.trusted
	if held != nil {
		trusted = cabundle.Merge(now, trusted, held.trusted)
	}
	made, err := newAuthority(now, r.caLifetime, trusted)
	switch {
	case err != nil:
		return nil, nothing, err
	case errors.Is(wrong, errNoAuthority):
		return made, create, nil
	}
	return made, replace, nil
}

// surplus reports that more CAs are trusted than can have signed a leaf that is still served.
func (r rotation) surplus(now time.Time, stored *authority) bool {
	needed := 1
	if stored.next != nil {
		needed++
	}
	return len(stored.trusted.Certificates()) > needed && !stored.signsSince.IsZero() &&
		now.After(stored.signsSince.Add(r.leafLifetime+dropMargin))
}
