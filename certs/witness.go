package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

// witness tells what callers trust, and since when. All but verify is for the goroutine alone that looks.
type witness interface {
	// look has the witness see for itself. If it cannot, verify and anywhere go by what it saw before, and since knows of no CA.
	look(context.Context) error
	// since returns since when all callers are seen to trust ca; ok is false if they are not now.
	since(ca *x509.Certificate) (at time.Time, ok bool)
	// published tells the witness what ca.crt holds: callers that are not seen read it.
	published(cabundle.Bundle)
	// anywhere returns the CAs that some caller trusts.
	anywhere() cabundle.Bundle
	// verify returns why callers would not accept leaf at now, or nil if they would. There may be no leaf.
	verify(now time.Time, leaf *tls.Certificate) error
	// vouched says what it means that verify returns nil.
	vouched() string
}

// unseen is the witness of callers whose trust nobody tells us, such as those of metrics: they are taken to read ca.crt, and to trust
// what it holds.
type unseen struct {
	clock clock.PassiveClock
	held  atomic.Pointer[cabundle.Bundle]
	first map[string]time.Time // since when each CA is in ca.crt, by fingerprint, as far as this process has seen
}

func (u *unseen) look(context.Context) error { return nil }
func (u *unseen) anywhere() cabundle.Bundle  { return cabundle.Bundle{} }
func (u *unseen) vouched() string            { return "there is a serving certificate" }

func (u *unseen) published(trusted cabundle.Bundle) {
	u.held.Store(&trusted)
	u.first = firstSeen(u.clock.Now(), u.first, trusted.Certificates())
}

func (u *unseen) since(ca *x509.Certificate) (time.Time, bool) {
	at, ok := u.first[cabundle.Fingerprint(ca)]
	return at, ok
}

func (u *unseen) verify(_ time.Time, leaf *tls.Certificate) error {
	held := u.held.Load()
	if leaf == nil || held == nil {
		return errNoLeaf
	}
	if !slices.ContainsFunc(held.Certificates(), func(ca *x509.Certificate) bool { return leaf.Leaf.CheckSignatureFrom(ca) == nil }) {
		return errNotPublished
	}
	return nil
}

// firstSeen returns since when each of cas is seen, by fingerprint; before is what it was until now.
func firstSeen(now time.Time, before map[string]time.Time, cas []*x509.Certificate) map[string]time.Time {
	first := map[string]time.Time{}
	for _, ca := range cas {
		fingerprint := cabundle.Fingerprint(ca)
		at, ok := before[fingerprint]
		if !ok {
			at = now
		}
		first[fingerprint] = at
	}
	return first
}

type targetReader interface {
	Get(context.Context, cabundle.Target, cluster.Freshness) (cabundle.Object, error)
}

// configurations is the witness of API servers, which trust what our webhook configurations hold.
type configurations struct {
	names   []cabundle.Target // the first one must be there; of the others, those that are there count
	called  []string          // the DNS names or IP addresses under which they call us
	targets targetReader
	clock   clock.PassiveClock

	seen  atomic.Pointer[trust]
	fresh bool                 // seen is of the last look
	first map[string]time.Time // since when each CA is in all of them, by fingerprint
}

// look reads the configurations.
func (c *configurations) look(ctx context.Context) error {
	found, err := c.read(ctx)
	c.fresh = err == nil
	if err != nil {
		return err
	}
	c.first = firstSeen(c.clock.Now(), c.first, found.inAll())
	c.seen.Store(found)
	return nil
}

func (c *configurations) published(cabundle.Bundle) {}

func (c *configurations) read(ctx context.Context) (*trust, error) {
	found := &trust{configuration: c.names[0]}
	for i, name := range c.names {
		object, err := c.targets.Get(ctx, name, cluster.Consistent)
		switch {
		case apierrors.IsNotFound(err) && i == 0:
			object = cabundle.Object{}
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, err
		}
		found.add(name, object)
	}
	return found, nil
}

func (c *configurations) since(ca *x509.Certificate) (time.Time, bool) {
	at, ok := c.first[cabundle.Fingerprint(ca)]
	return at, ok && c.fresh
}

func (c *configurations) anywhere() cabundle.Bundle {
	if seen := c.seen.Load(); seen != nil {
		return seen.inAny()
	}
	return cabundle.Bundle{}
}

func (c *configurations) vouched() string { return "the API server trusts the serving certificate" }

func (c *configurations) verify(now time.Time, leaf *tls.Certificate) error {
	trusted := c.seen.Load()
	switch {
	case leaf == nil:
		return errNoLeaf
	case trusted == nil:
		return errors.New("the webhook configuration has not been read yet")
	}
	return trusted.verify(now, leaf, c.called)
}
