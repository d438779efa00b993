package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/alive"
)

const (
	// interval is the time between two looks when nothing happens, with up to 20 % more. It is short beside any lifetime, and the
	// clock is read anew each time, so that a machine that was suspended renews in time.
	interval = 10 * time.Second
	// patience is for how long a replica without a CA leaves it to the others to restore one: a little more than they need to
	// notice.
	patience = 15 * time.Second
	// requestTimeout bounds one look.
	requestTimeout = 10 * time.Second
)

// authorities is the Secret: see store.
type authorities interface {
	ensure(context.Context, rotation, view) (*authority, error)
}

// Options are all that can be set.
type Options struct {
	// Secret holds the CA. caject may get, update and apply it.
	Secret types.NamespacedName
	// Configurations are our own webhook configurations. The first one must be there; of the others, those that are there
	// count. None means that nothing says whether callers trust us: then they are taken to trust what the Secret has in ca.crt.
	Configurations []cabundle.Target
	// Names are the DNS names or IP addresses under which we are called.
	Names []string
	// CALifetime and LeafLifetime are how long a certificate is made for; each is renewed at two thirds.
	CALifetime, LeafLifetime time.Duration
	// TrustDelay is for how long our Configurations must have held a CA until leaves of it are served: the API servers of a
	// control plane learn of it each for itself. Without Configurations it is for how long the CA must have been in ca.crt: callers have
	// a copy of it that is some time behind.
	TrustDelay time.Duration
	// Clock is compared with the API server's. Without it, the local one is taken to agree.
	Clock *ServerClock
	// Events takes those about the Secret.
	Events record.EventRecorder
	// Changed, if set, is called when the Secret holds another CA than before. It must not block.
	Changed func(cabundle.Reference)
}

// Keeper makes, renews and hands out the serving certificate. It is a runnable of controller-runtime's manager.
type Keeper struct {
	options Options
	store   authorities
	witness witness
	server  *ServerClock
	clock   clock.WithTicker // the local one, for how long things take
	wake    chan struct{}
	looks   *alive.Loop

	leaf atomic.Pointer[tls.Certificate] // the one that is served, or nil

	// Used by Start alone.
	authority *authority
	current   bool      // authority is what the Secret held at this look
	missing   time.Time // since when the Secret was seen to hold no CA while callers trust one; zero if it does
	logged    string
}

// NewKeeper returns a Keeper. c must not be backed by a cache; t may be nil if Options names no Configurations.
func NewKeeper(o Options, c client.Client, t targetReader, clk clock.WithTicker) *Keeper {
	server := o.Clock
	if server == nil {
		server = NewServerClock(clk)
	}
	k := &Keeper{
		options: o,
		store:   &store{client: c, name: o.Secret, events: o.Events, clock: server},
		witness: &unseen{clock: clk},
		server:  server,
		clock:   clk,
		wake:    make(chan struct{}, 1),
		looks:   alive.NewLoop("the keeper of the certificates", 6*requestTimeout, 2*interval, clk),
	}
	if len(o.Configurations) > 0 {
		k.witness = &configurations{names: o.Configurations, called: o.Names, targets: t, clock: clk}
	}
	return k
}

// NeedLeaderElection says that every replica runs this: each has its own leaf.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Wake has the Keeper look right away. It does not block.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Start looks after the certificates until ctx ends. While something is missing it tries again soon, with backoff.
func (k *Keeper) Start(ctx context.Context) error {
	retries := k.backoff()
	for {
		found := k.look(ctx)
		k.log(ctx, found)
		var pause time.Duration
		if found.err() != nil {
			pause = retries.Step()
		} else {
			retries = k.backoff()
			pause = min(wait.Jitter(interval, 0.2), k.untilDue())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-k.clock.After(pause):
		}
	}
}

func (k *Keeper) backoff() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 5 * time.Second}
}

// look brings up to date what we know of the API server's trust, then the CA by that, then the leaf by both.
func (k *Keeper) look(ctx context.Context) outcome {
	defer k.looks.Turn()()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var found outcome
	found.witness = k.witness.look(ctx)
	found.authority = k.lookAtAuthority(ctx)
	found.leaf = k.changeLeaf()
	found.trust = k.verify()
	return found
}

// outcome is what a look came to: why a part is not as it should be.
type outcome struct{ witness, authority, leaf, trust error }

func (o outcome) err() error {
	return errors.Join(o.authority, o.witness, o.leaf, o.trust)
}

// state says which parts are as they should be. The text of an error can differ at each try.
func (o outcome) state() string {
	return fmt.Sprint(o.authority == nil, o.witness == nil, o.leaf == nil, o.trust == nil)
}

// lookAtAuthority reads the CA, and takes the steps that are due. If the Secret cannot be read, the CA of before stays, but
// signs nothing.
func (k *Keeper) lookAtAuthority(ctx context.Context) error {
	found, err := k.store.ensure(ctx, rotation{
		caLifetime: k.options.CALifetime, leafLifetime: k.options.LeafLifetime, trustDelay: k.options.TrustDelay,
	}, k.view())
	k.current = found != nil
	switch {
	case k.current:
		k.missing = time.Time{}
	case errors.Is(err, errOthers) && k.missing.IsZero():
		k.missing = k.clock.Now()
	}
	if !k.current {
		return err
	}
	changed := k.authority == nil || k.authority.trusted.Digest() != found.trusted.Digest()
	k.authority = found
	k.witness.published(found.trusted)
	if changed && k.options.Changed != nil {
		k.options.Changed(cabundle.Reference{
			Kind: cabundle.Secret, Namespace: k.options.Secret.Namespace, Name: k.options.Secret.Name,
		})
	}
	return err
}

// trustedForLong returns which of our CAs all callers have been seen to trust for TrustDelay, by fingerprint.
func (k *Keeper) trustedForLong() map[string]bool {
	trusted := map[string]bool{}
	if k.authority == nil {
		return trusted
	}
	for _, ca := range k.authority.certificates() {
		if left, ok := k.untilTrusted(ca); ok && left <= 0 {
			trusted[cabundle.Fingerprint(ca)] = true
		}
	}
	return trusted
}

// untilTrusted returns how long it is until all callers have trusted ca for TrustDelay; ok is false if they do not trust it now.
func (k *Keeper) untilTrusted(ca *x509.Certificate) (left time.Duration, ok bool) {
	since, ok := k.witness.since(ca)
	return k.options.TrustDelay - k.clock.Since(since), ok
}

// view returns what the steps depend on beside the Secret.
func (k *Keeper) view() view {
	trusted := k.witness.anywhere()
	return view{
		held:      k.authority,
		trusted:   k.trustedForLong(),
		others:    !trusted.Empty() && (k.missing.IsZero() || k.clock.Since(k.missing) < patience),
		forgotten: !trusted.Empty() && k.authority != nil && !trusted.Holds(k.authority.certificate),
	}
}

// untilDue returns how long it is until something is to be done, and at least the first step of the backoff. What waits for
// somebody else is never due: Wake says when our configurations have changed.
func (k *Keeper) untilDue() time.Duration {
	until, now, ca := interval, k.server.Now(), k.authority
	trusted := func(certificate *x509.Certificate) {
		if left, ok := k.untilTrusted(certificate); ok {
			until = min(until, left)
		}
	}
	if leaf := k.leaf.Load(); !ca.signed(leaf) {
		trusted(ca.certificate)
	} else if at, ok := ca.leafDueAt(leaf.Leaf); ok {
		until = min(until, at.Sub(now))
	}
	if ca.next != nil {
		trusted(ca.next.certificate)
	} else {
		until = min(until, renewAt(ca.certificate).Sub(now))
	}
	return max(until, k.backoff().Duration)
}

// log says once when the state changes, not at each try.
func (k *Keeper) log(ctx context.Context, found outcome) {
	if found.state() == k.logged {
		return
	}
	k.logged = found.state()
	logger := log.FromContext(ctx)
	switch {
	case found.trust != nil:
		logger.Info("Not ready", "reason", found.err().Error())
	case found.err() != nil:
		logger.Info("Ready, but not all is well", "reason", found.err().Error())
	default:
		logger.Info("Ready: "+k.witness.vouched(), "secret", k.options.Secret)
	}
}
