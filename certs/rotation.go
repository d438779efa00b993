package certs

import (
	"errors"
	"slices"
	"time"

	"github.com/caject/caject/cabundle"
)

// dropMargin is how much longer than a leaf can be valid its CA stays trusted: a replica may have read the Secret just before
// another one had the next CA sign, and signs a moment later.
const dropMargin = requestTimeout

// step is what has to be done about the CA in the Secret. It is part of the reason of an Event, such as CAPromoted.
type step string

// The steps. A rotation is prepare, promote and drop, each at its time; one that people ask for is renew, promote and withdraw.
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
	// renew makes the next CA, too, but now, and in place of a next CA that is there already.
	renew step = "Renewing"
	// promote has the next CA sign from now on.
	promote step = "Promoted"
	// drop removes CAs from the trusted set once no leaf they signed can still be valid.
	drop step = "Dropped"
	// withdraw removes and distrusts all CAs of before the request once no replica serves a leaf they signed.
	withdraw step = "Withdrawn"
)

// rotation says how long things last.
type rotation struct {
	caLifetime, leafLifetime, trustDelay time.Duration
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
	// forgotten is whether callers trust some CA, but not the one of held: this process may not have looked for long, and it may
	// have been distrusted meanwhile.
	forgotten bool
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
	case v.held != nil && v.held.validAt(now) && !stored.trusted.Holds(v.held.certificate) && !stored.distrusts(v.held.certificate):
		next.trusted, next.signsSince = stored.without(cabundle.Merge(now, v.held.trusted, stored.trusted)), now
		return &next, adopt, nil
	case stored.asksForAnother():
		return r.withNext(now, next, renew)
	case stored.next != nil && v.trusted[stored.next.fingerprint()]:
		if next.pair, next.next, next.signsSince = *stored.next, nil, now; stored.renewed() {
			next.made = next.fingerprint() // this one, too, was made after the request
		}
		return &next, promote, nil
	case stored.next == nil && !now.Before(renewAt(stored.certificate)):
		return r.withNext(now, next, prepare)
	case stored.renewed() && !now.Before(stored.signsSince.Add(leafChange(r.trustDelay))):
		former := slices.DeleteFunc(slices.Clone(stored.trusted.Certificates()), stored.needed().Holds)
		next.trusted, next.renewal = stored.needed(), stored.distrusting(former...)
		next.request, next.made = "", ""
		return &next, withdraw, nil
	case stored.without(stored.trusted).Digest() != stored.trusted.Digest(): // people have distrusted one
		next.trusted = stored.without(stored.trusted)
		return &next, drop, nil
	case r.surplus(now, stored):
		next.trusted = stored.needed()
		return &next, drop, nil
	}
	return stored, nothing, nil
}

// withNext returns a with a new next CA.
func (r rotation) withNext(now time.Time, a authority, why step) (*authority, step, error) {
	made, err := newPair(now, r.caLifetime)
	if err != nil {
		return nil, nothing, err
	}
	a.next, a.trusted = made, cabundle.Merge(now, a.trusted, made.bundle())
	if why == renew {
		a.made = made.fingerprint()
	}
	return &a, why, nil
}

// repair returns what a Secret that holds no good CA should hold. What is distrusted comes back in no case.
func (r rotation) repair(now time.Time, found content, v view) (*authority, step, error) {
	renewal := found.renewal
	if v.held != nil {
		renewal = renewal.or(v.held.renewal)
	}
	switch {
	case v.held != nil && v.held.validAt(now) && !v.forgotten && !renewal.distrusts(v.held.certificate):
		// Whoever damaged it may have put anything among those that are trusted. What another replica has signed with, it adopts.
		restored := *v.held
		if restored.next != nil && renewal.distrusts(restored.next.certificate) {
			restored.next = nil
		}
		restored.trusted, restored.renewal = renewal.without(restored.trusted), renewal
		return &restored, restore, nil
	case found.next != nil && !renewal.distrusts(found.next.certificate): // better than one that nobody trusts yet
		return &authority{pair: *found.next, trusted: renewal.without(found.trusted), signsSince: now, renewal: renewal}, promote, nil
	case v.others && !errors.Is(found.wrong, errDistrusted):
		return nil, nothing, errOthers
	}
	trusted := found.trusted
	if v.held != nil && !v.forgotten {
		trusted = cabundle.Merge(now, trusted, v.held.trusted)
	}
	made, err := newAuthority(now, r.caLifetime, renewal.without(trusted))
	if err != nil {
		return nil, nothing, err
	}
	made.renewal = renewal
	if errors.Is(found.wrong, errNoAuthority) {
		return made, create, nil
	}
	return made, replace, nil
}

// surplus reports whether more CAs are trusted than can have signed a leaf that is still served. While a request for a new CA is
// under way, it is for withdraw to remove the former ones.
func (r rotation) surplus(now time.Time, stored *authority) bool {
	return stored.request == "" && len(stored.trusted.Certificates()) > len(stored.certificates()) &&
		!stored.signsSince.IsZero() && now.After(stored.signsSince.Add(r.leafLifetime+dropMargin))
}
