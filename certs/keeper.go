// Package certs gives caject the certificate that it serves: its own CA in one Secret, shared by the replicas, and a
// leaf in memory for each of them.
//
// There is no special case for caject's own webhook configuration. It names the Secret in the ordinary annotation, and
// the ordinary resync fills it, whether caject is ready or not.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/source"
)

const (
	// interval is the time between two looks when nothing happens. It is short beside any lifetime, and the clock is
	// read anew each time, so that a machine that was suspended renews in time.
	interval = 30 * time.Second
	// requestTimeout bounds one look.
	requestTimeout = 10 * time.Second
)

type targetReader interface {
	Get(context.Context, cabundle.Target, source.Freshness) (cabundle.Object, error)
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
	// Changed, if set, is called when the Secret holds another CA than before. It must not block.
	Changed func(cabundle.Reference)
}

// Keeper makes, renews and hands out the serving certificate. It is a runnable of controller-runtime's manager.
type Keeper struct {
	options Options
	store   *store
	targets targetReader
	clock   clock.WithTicker
	wake    chan struct{}

	// Used by Start alone.
	authority *authority
	logged    string

	mu    sync.Mutex
	leaf  *tls.Certificate
	trust *trust
}

// NewKeeper returns a Keeper. c must not be backed by a cache; t may be nil if Options names no Configurations.
func NewKeeper(o Options, c client.Client, t targetReader, clk clock.WithTicker) *Keeper {
	return &Keeper{
		options: o,
		store:   &store{client: c, name: o.Secret},
		targets: t,
		clock:   clk,
		wake:    make(chan struct{}, 1),
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
			pause = min(wait.Jitter(interval, 0.2), k.untilRenewal())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-k.clock.After(pause):
		}
	}
}

// untilRenewal returns how long it is until CA or leaf is due, and at least the first step of the backoff.
func (k *Keeper) untilRenewal() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	leaf := renewAt(k.leaf.Leaf, k.options.LeafLifetime).Sub(now)
	ca := renewAt(k.authority.certificate, k.options.CALifetime).Sub(now)
	return max(min(leaf, ca), k.backoff().Duration)
}

func (k *Keeper) backoff() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 5 * time.Second}
}

// look brings CA, leaf and what we know of the API server's trust up to date.
func (k *Keeper) look(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return outcome{
		authority:     k.lookAtAuthority(ctx),
		configuration: k.lookAtTrust(ctx),
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

// lookAtAuthority reads the CA, and makes or renews it. If the Secret cannot be read, the CA of before stays in use.
func (k *Keeper) lookAtAuthority(ctx context.Context) error {
	found, err := k.store.ensure(ctx, k.clock.Now(), k.options.CALifetime, k.authority)
	if found == nil {
		return err
	}
	changed := k.authority == nil || k.authority.trusted.Digest() != found.trusted.Digest()
	k.authority = found
	if changed && k.options.Changed != nil {
		k.options.Changed(cabundle.Reference{
			Kind: cabundle.Secret, Namespace: k.options.Secret.Namespace, Name: k.options.Secret.Name,
		})
	}
	return err
}

// lookAtTrust reads our configurations. If one cannot be read, what was last seen counts.
func (k *Keeper) lookAtTrust(ctx context.Context) error {
	if !k.configured() {
		return nil
	}
	found := &trust{configuration: k.options.Configurations[0]}
	for i, configuration := range k.options.Configurations {
		object, err := k.targets.Get(ctx, configuration, source.Consistent)
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
	k.trust = found
	return nil
}

// chooseLeaf makes a leaf where there is none, where the one there is due, or where another CA has taken over. A leaf
// that the API server trusts is not given up for one that it does not trust yet.
func (k *Keeper) chooseLeaf() error {
	if k.authority == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.Now()
	if k.leaf != nil && now.Before(renewAt(k.leaf.Leaf, k.options.LeafLifetime)) &&
		k.leaf.Leaf.CheckSignatureFrom(k.authority.certificate) == nil {
		return nil
	}
	next, err := k.authority.leaf(now, k.options.Names, k.options.LeafLifetime)
	if err != nil {
		return err
	}
	notYet := k.trust.verify(now, next, k.options.Names)
	if notYet != nil && k.trust.verify(now, k.leaf, k.options.Names) == nil {
		return fmt.Errorf("a new one waits, the one of before is served: %w", notYet)
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
