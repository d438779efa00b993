package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	errNoLeaf       = errors.New("there is no serving certificate yet")
	errNotPublished = errors.New(trustedKey + " does not hold the CA of the certificate that is served")
	errNotSeen      = errors.New("a new certificate waits, the one of before is served: callers are not seen to trust the CA that signs now")
)

// changeLeaf makes a leaf where there is none, where the one there is due, or where another CA has taken over. A leaf
// that the API server trusts is not given up for one that it may not trust yet.
func (k *Keeper) changeLeaf() error {
	ca, served, now := k.authority, k.leaf.Load(), k.server.Now()
	switch {
	case ca == nil:
		return nil
	case ca.signed(served) && !ca.leafDue(now, served.Leaf):
		return nil
	case !k.current || k.server.check() != nil:
		return nil // another CA may sign by now, or it is not known which time it is; the look says why
	}
	trusted := k.witness.verify(now, served) == nil
	if trusted && !ca.signed(served) {
		switch left, ok := k.untilTrusted(ca.certificate); {
		case !ok:
			return errNotSeen
		case left > 0:
			return nil // the one of before is served until all API servers trust the new one
		}
	}
	next, err := ca.leaf(now, k.options.Names, k.options.LeafLifetime)
	if err != nil {
		return err
	}
	if notYet := k.witness.verify(now, next); trusted && notYet != nil {
		return fmt.Errorf("a new certificate waits, the one of before is served: %w", notYet)
	}
	k.leaf.Store(next)
	return nil
}

// GetCertificate returns the serving certificate, for tls.Config.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if leaf := k.leaf.Load(); leaf != nil {
		return leaf, nil
	}
	return nil, errNoLeaf
}

// Expiry returns when the serving certificate expires; ok is false while there is none.
func (k *Keeper) Expiry() (at time.Time, ok bool) {
	if leaf := k.leaf.Load(); leaf != nil {
		return leaf.Leaf.NotAfter, true
	}
	return time.Time{}, false
}

// Ready returns nil if the API server trusts the certificate that is being served: a healthz.Checker. If the clocks do not
// agree, the error says so, too: that may be why.
func (k *Keeper) Ready(*http.Request) error {
	if err := k.verify(); err != nil {
		return errors.Join(err, k.server.check())
	}
	return nil
}

// Alive returns why the Keeper is taken to hang, or nil: a healthz.Checker.
func (k *Keeper) Alive(r *http.Request) error { return k.looks.Check(r) }

// verify returns why the API server would not accept the certificate that is being served, or nil.
func (k *Keeper) verify() error { return k.witness.verify(k.server.Now(), k.leaf.Load()) }
