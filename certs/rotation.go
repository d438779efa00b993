package certs

import (
	"errors"
	"time"

	"github.com/caject/caject/cabundle"
)

// dropMargin is how much longer than a leaf can be valid its CA stays trusted: a replica may have read the Secret just before
// another one had the next CA sign, and signs a moment later.
const dropMargin = requestTimeout

// step is what has to be done about the CA in the Secret. It is part of the reason of an Event, such as CAPromoted.
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
	// adopt keeps trusting the CA that this process was signing with after another CA was put in the Secret.
	adopt step = "Adopted"
	// prepare makes the next CA, for all callers to trust.
	prepare step = "Prepared"
	// promote has the next CA sign from now on.
	promote step = "Promoted"
	// drop removes CAs from the trusted set once no leaf they signed can still be valid.
	drop step = "Dropped"
)

// rotation says how long things last.
type rotation struct {
	caLifetime, leafLifetime time.Duration
}

// view is what a process knows beside the content of the Secret.
type view struct {
	// held is what this process read or wrote last, or nil.
	held *authority
	// trusted are the CAs that all callers have trusted for trustDelay, by fingerprint.
	trusted map[string]bool
	// others is whether another replica may still hold the CA, should it be missing from the Secret, and restore it: callers trust some
	// CA, and not much time has passed since it was seen first that it is missing.
	others bool
}

// errOthers says that it is for another replica to restore the CA.
var errOthers = errors.New("the CA is gone from the Secret; a replica that still has it is given time to restore it")

// plan returns what the Secret should hold instead of what it does, and which step that is.
func (r rotation) plan(now time.Time, found content, v view) (*authority, step, error) {
	if found.wrong != nil {
		return r.repair(now, found, v)
	}
	return r.advance(now, found.authority, v)
}

// advance returns what comes after stored, which is good.
func (r rotation) advance(now time.Time, stored *authority, v view) (*authority, step, error) {
	next := *stored
	switch {
	case v.held != nil && v.held.validAt(now) && !stored.trusted.Holds(v.held.certificate):
		next.trusted, next.signsSince = cabundle.Merge(now, v.held.trusted, stored.trusted), now
		return &next, adopt, nil
	case stored.next != nil && v.trusted[stored.next.fingerprint()]:
		next.pair, next.next, next.signsSince = *stored.next, nil, now
		return &next, promote, nil
	case stored.next == nil && !now.Before(renewAt(stored.certificate)):
		made, err := newPair(now, r.caLifetime)
		if err != nil {
			return nil, nothing, err
		}
		next.next, next.trusted = made, cabundle.Merge(now, stored.trusted, made.bundle())
		return &next, prepare, nil
	case r.surplus(now, stored):
		next.trusted = stored.needed()
		return &next, drop, nil
	}
	return stored, nothing, nil
}

// repair returns what a Secret that holds no good CA should hold.
func (r rotation) repair(now time.Time, found content, v view) (*authority, step, error) {
	switch {
	case v.held != nil && v.held.validAt(now):
		// Whoever damaged it may have put anything among those that are trusted. What another replica has signed with, it adopts.
		return v.held, restore, nil
	case found.next != nil: // better than one that nobody trusts yet
		return &authority{pair: *found.next, trusted: found.trusted, signsSince: now}, promote, nil
	case v.others:
		return nil, nothing, errOthers
	}
	trusted := found.trusted
	if v.held != nil {
		trusted = cabundle.Merge(now, trusted, v.held.trusted)
	}
	made, err := newAuthority(now, r.caLifetime, trusted)
	if err != nil {
		return nil, nothing, err
	}
	if errors.Is(found.wrong, errNoAuthority) {
		return made, create, nil
	}
	return made, replace, nil
}

// surplus reports whether more CAs are trusted than can have signed a leaf that is still served.
func (r rotation) surplus(now time.Time, stored *authority) bool {
	return len(stored.trusted.Certificates()) > len(stored.certificates()) &&
		!stored.signsSince.IsZero() && now.After(stored.signsSince.Add(r.leafLifetime+dropMargin))
}
