// Package certs gives caject the certificate that it serves: its own CA in one Secret, shared by the replicas, and a
// leaf in memory for each of them.
//
// There is no special case for caject's own webhook configuration. It names the Secret in the ordinary annotation, and
// the ordinary resync fills it, whether caject is ready or not.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/alive"
	"github.com/caject/caject/cabundle/cluster"
)

const (
	// interval is the time between two looks when nothing happens. It is short beside any lifetime, and the clock is
	// read anew each time, so that a machine that was suspended renews in time.
	interval = 10 * time.Second
	// patience is for how long a replica without a CA leaves it to the others to restore one: a little more than they need to
	// notice.
	patience = 15 * time.Second
	// requestTimeout bounds one look.
	requestTimeout = 10 * time.Second
)

type targetReader interface {
	Get(context.Context, cabundle.Target, cluster.Freshness) (cabundle.Object, error)
}

// authorities is the Secret: see store.
type authorities interface {
	ensure(ctx context.Context, now time.Time, r rotation, held *authority) (*authority, error)
}

// Options are all that can be set.
type Options struct {
	// Secret holds the CA. caject may get, update and apply it.
	Secret types.NamespacedName
	// Configurations are our own webhook configurations. The first one must be there; of the others, those that are there
	// count. None means that nothing says whether callers trust us: then a leaf is served as soon as it is made.
	Configurations []cabundle.Target
	// Names are the DNS names or IP addresses under which we are called.
	Names []string
	// CALifetime and LeafLifetime are how long a certificate is made for; each is renewed at two thirds.
	CALifetime, LeafLifetime time.Duration
	// TrustDelay is for how long our Configurations must have held a CA until leaves of it are served: the API servers of a
	// control plane learn of it each for itself.
	TrustDelay time.Duration
	// Events takes those about the Secret.
	Events record.EventRecorder
	// Changed, if set, is called when the Secret holds another CA than before. It must not block.
	Changed func(cabundle.Reference)
}

// Keeper makes, renews and hands out the serving certificate. It is a runnable of controller-runtime's manager.
type Keeper struct {
	options Options
	store   authorities
	targets targetReader
	clock   clock.WithTicker
	wake    chan struct{}
	looks   *alive.Loop

	// Used by Start alone.
	authority *authority
	fresh     bool                 // authority is what the Secret held at this look
	seen      bool                 // trust is what our configurations held at this look
	trusted   map[string]time.Time // since when all callers are seen to trust a CA, by fingerprint
	missing   time.Time            // since when the Secret was seen to hold no CA while callers trust one; zero if it does
	logged    string

	mu    sync.Mutex
	leaf  *tls.Certificate
	trust *trust
}

// NewKeeper returns a Keeper. c must not be backed by a cache; t may be nil if Options names no Configurations.
func NewKeeper(o Options, c client.Client, t targetReader, clk clock.WithTicker) *Keeper {
	return &Keeper{
		options: o,
		store:   &store{client: c, name: o.Secret, events: o.Events},
		targets: t,
		clock:   clk,
		wake:    make(chan struct{}, 1),
		looks:   alive.NewLoop("the keeper of the certificates", 6*requestTimeout, 2*interval, clk),
		trusted: map[string]time.Time{},
	}
}

// NeedLeaderElection says that every replica runs this: each has its own leaf.
func (k *Keeper) NeedLeaderElection() bool { return false }

// configured reports that a webhook configuration says whether callers trust us.
func (k *Keeper) configured() bool { return len(k.options.Configurations) > 0 }

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

// untilDue returns how long it is until something is to be done, and at least the first step of the backoff.
func (k *Keeper) untilDue() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	until := renewAt(k.leaf.Leaf, k.options.LeafLifetime).Sub(now)
	if !k.signed(k.leaf) {
		until = k.untilTrusted(k.authority.certificate)
	}
	if k.authority.next != nil {
		until = min(until, k.untilTrusted(k.authority.next.certificate))
	} else {
		until = min(until, renewAt(k.authority.certificate, k.options.CALifetime).Sub(now))
	}
	return max(until, k.backoff().Duration)
}

// untilTrusted returns how long it is until trustedForLong; TrustDelay if callers do not trust ca yet.
func (k *Keeper) untilTrusted(ca *x509.Certificate) time.Duration {
	if since, ok := k.trusted[cabundle.Fingerprint(ca)]; ok {
		return k.options.TrustDelay - k.clock.Since(since)
	}
	return k.options.TrustDelay
}

// signed reports that the CA that signs now has signed leaf.
func (k *Keeper) signed(leaf *tls.Certificate) bool {
	return leaf != nil && leaf.Leaf.CheckSignatureFrom(k.authority.certificate) == nil
}

func (k *Keeper) backoff() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 5 * time.Second}
}

// look brings CA, leaf and what we know of the API server's trust up to date.
func (k *Keeper) look(ctx context.Context) outcome {
	defer k.looks.Turn()()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return outcome{
		configuration: k.lookAtTrust(ctx),
		authority:     k.lookAtAuthority(ctx),
		leaf:          k.chooseLeaf(),
		trust:         k.verify(),
	}
}

// outcome is what a look came to: why a part is not as it should be.
type outcome struct{ authority, configuration, leaf, trust error }

func (o outcome) err() error {
	return errors.Join(o.authority, o.configuration, o.leaf, o.trust)
}

// state says which parts are as they should be. The text of an error can differ at each try.
func (o outcome) state() string {
	return fmt.Sprint(o.authority == nil, o.configuration == nil, o.leaf == nil, o.trust == nil)
}

// lookAtAuthority reads the CA, and takes the steps that are due. If the Secret cannot be read, the CA of before stays, but
// signs nothing.
func (k *Keeper) lookAtAuthority(ctx context.Context) error {
	k.noteTrust()
	found, err := k.store.ensure(ctx, k.clock.Now(), rotation{
		caLifetime: k.options.CALifetime, leafLifetime: k.options.LeafLifetime, trusted: k.trustedForLong, others: k.othersMayRestore,
	}, k.authority)
	if k.fresh = found != nil; !k.fresh {
		return err
	}
	k.missing = time.Time{}
	changed := k.authority == nil || k.authority.trusted.Digest() != found.trusted.Digest()
	k.authority = found
	if changed && k.options.Changed != nil {
		k.options.Changed(cabundle.Reference{
			Kind: cabundle.Secret, Namespace: k.options.Secret.Namespace, Name: k.options.Secret.Name,
		})
	}
	return err
}

// noteTrust notes since when all callers are seen to trust the CA that signs, and the next one.
func (k *Keeper) noteTrust() {
	if k.authority == nil {
		return
	}
	before := k.trusted
	k.trusted = map[string]time.Time{}
	pairs := []*pair{&k.authority.pair}
	if k.authority.next != nil {
		pairs = append(pairs, k.authority.next)
	}
	for _, p := range pairs {
		if k.configured() && !k.trust.holds(p.certificate) {
			continue
		}
		fingerprint := cabundle.Fingerprint(p.certificate)
		if k.trusted[fingerprint] = before[fingerprint]; k.trusted[fingerprint].IsZero() {
			k.trusted[fingerprint] = k.clock.Now()
		}
	}
}

// trustedForLong reports that all callers have been seen to trust a CA for TrustDelay.
func (k *Keeper) trustedForLong(ca *x509.Certificate) bool {
	since, ok := k.trusted[cabundle.Fingerprint(ca)]
	return ok && k.seen && k.clock.Since(since) >= k.options.TrustDelay
}

// othersMayRestore reports that a replica may still hold the CA that the Secret lacks: callers trust one, and not much time has
// passed since that was seen first.
func (k *Keeper) othersMayRestore() bool {
	if !k.trust.any() {
		return false
	}
	if k.missing.IsZero() {
		k.missing = k.clock.Now()
	}
	return k.clock.Since(k.missing) < patience
}

// lookAtTrust reads our configurations. If one cannot be read, what was last seen counts.
func (k *Keeper) lookAtTrust(ctx context.Context) error {
	if k.seen = !k.configured(); k.seen {
		return nil
	}
	found := &trust{configuration: k.options.Configurations[0]}
	for i, configuration := range k.options.Configurations {
		object, err := k.targets.Get(ctx, configuration, cluster.Consistent)
		switch {
		case apierrors.IsNotFound(err) && i == 0:
			object = cabundle.Object{}
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return err
		}
		found.add(configuration, object)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trust, k.seen = found, true
	return nil
}

// chooseLeaf makes a leaf where there is none, where the one there is due, or where another CA has taken over. A leaf
// that the API server trusts is not given up for one that it may not trust yet.
func (k *Keeper) chooseLeaf() error {
	if k.authority == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	switch {
	case k.signed(k.leaf) && now.Before(renewAt(k.leaf.Leaf, k.options.LeafLifetime)) && !now.Before(k.leaf.Leaf.NotBefore):
		return nil // it is neither due nor, for the clock has gone back, not valid yet
	case !k.fresh:
		return nil // another CA may sign by now; the look says why that is not known
	}
	next, err := k.authority.leaf(now, k.options.Names, k.options.LeafLifetime)
	if err != nil {
		return err
	}
	if k.trust.verify(now, k.leaf, k.options.Names) == nil {
		if notYet := k.trust.verify(now, next, k.options.Names); notYet != nil {
			return fmt.Errorf("a new one waits, the one of before is served: %w", notYet)
		}
		if !k.signed(k.leaf) && !k.trustedForLong(k.authority.certificate) {
			return nil // the one of before is served until all API servers trust the new one
		}
	}
	k.leaf = next
	return nil
}

// GetCertificate returns the serving certificate, for tls.Config.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.leaf == nil {
		return nil, errors.New("there is no serving certificate yet")
	}
	return k.leaf, nil
}

// Ready returns nil if the API server trusts the certificate that is being served: a healthz.Checker.
func (k *Keeper) Ready(*http.Request) error { return k.verify() }

// Alive returns why the Keeper is taken to hang, or nil: a healthz.Checker.
func (k *Keeper) Alive(r *http.Request) error { return k.looks.Check(r) }

func (k *Keeper) verify() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.configured() && k.leaf != nil {
		return nil
	}
	return k.trust.verify(k.clock.Now(), k.leaf, k.options.Names)
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
	case !k.configured():
		logger.Info("Ready: there is a serving certificate", "secret", k.options.Secret)
	default:
		logger.Info("Ready: the API server trusts the serving certificate")
	}
}
