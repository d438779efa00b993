package publish

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/shards"
)

const (
	// aheadDelay is how long after a hint a source that no target names is read, once: the API server hints before it writes.
	aheadDelay = 400 * time.Millisecond
	// aheadPerSecond and aheadBurst bound how many of those are read in all, and maxHinted how many may wait for it: a further one is
	// published when a target names it.
	aheadPerSecond, aheadBurst, maxHinted = 10, 50, 1000
)

// Hinted says that a Secret that allows direct injection may be about to change: if no target names it, it is published ahead, so that the
// first webhook configuration to name it is filled in its own request. A Certificate is only if it is stored already. It does not block.
func (p *Publisher) Hinted(ref cabundle.Reference) {
	if p.targets.Summary(ref, ledger.Reading{}).Total > 0 {
		return // the ledger follows it
	}
	if ref.Kind != cabundle.Secret {
		if entry, err := p.store.Get(ref); err != nil || !entry.Stored() {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.waiting.Has(ref) && p.waiting.Len() < maxHinted {
		p.waiting.Insert(ref)
		p.hinted.AddAfter(ref, aheadDelay)
	}
}

// publishAhead reads a source that no target names, and publishes it. It returns when to try again, 0 for at the next hint.
func (p *Publisher) publishAhead(ctx context.Context, ref cabundle.Reference) time.Duration {
	if !p.store.Synced() || !p.budget.TryAccept() {
		return aheadDelay
	}
	p.mu.Lock()
	p.waiting.Delete(ref) // what is hinted at from now on is not in what is read
	p.mu.Unlock()
	if p.targets.Summary(ref, ledger.Reading{}).Total > 0 {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reading := p.ledger.Read(ctx, ref, cluster.Consistent, metrics.Hint)
	of := p.of(ref)
	defer p.Changed(ref) // then nothing more is kept of it here: see retire
	of.writing.Lock()
	defer of.writing.Unlock()
	for range maxTries {
		stored, err := p.store.Get(ref)
		if err != nil {
			return aheadDelay
		}
		if reading.Problem != nil && reading.Problem.Outage() {
			return 0
		}
		reading.History = reading.History.Merge(stored.History)
		next, _ := wanted(p.clock.Now(), p.options.Rules, stored, reading, Summary{}, true)
		switch {
		case problemOf(p.clock.Now(), reading) != nil:
			err = p.store.Remove(ctx, ref, stored)
		case stored.Named(): // the last target has gone only just now
			_, err = p.store.Put(ctx, ref, stored, next)
		default:
			_, err = p.demote(ctx, ref, stored, next)
		}
		if !apierrors.IsConflict(err) {
			return 0
		}
	}
	return 0
}

// retire does what becomes of a source that no target names: some time after the last one it is shown no more, and kept with those
// that were published ahead, so that the next one to name it finds it.
func (p *Publisher) retire(ctx context.Context, ref cabundle.Reference, of *publication) time.Duration {
	of.writing.Lock()
	defer of.writing.Unlock()
	stored, err := p.known(ref, of)
	if err != nil {
		return delay
	}
	p.mu.Lock()
	if of.unnamedSince.IsZero() {
		of.unnamedSince = p.clock.Now()
	}
	left := removeAfter*p.options.Interval - p.clock.Since(of.unnamedSince)
	shown := of.shown != nil
	p.mu.Unlock()
	if left > 0 && (stored.Named() || shown) {
		return left
	}
	if err = p.hide(ctx, ref, of); err == nil && (stored.Named() || stored.Untidy()) {
		if stored, err = p.demote(ctx, ref, stored, stored); err == nil && stored.Untidy() {
			p.took(of, stored, nil, 0)
			return shards.TidyAfter
		}
	}
	if err != nil {
		p.took(of, stored, err, 0)
		p.say(ctx, err)
		return p.patience(err)
	}
	p.mu.Lock()
	delete(p.publications, ref)
	p.mu.Unlock()
	p.ledger.Forget(ref)
	return 0
}

// demote stores wanted in place of stored, with the sources that no target names; it removes it if there is nothing to publish, or it is too
// large for that.
func (p *Publisher) demote(ctx context.Context, ref cabundle.Reference, stored, wanted shards.Entry) (shards.Entry, error) {
	if wanted.Published.CABundle != "" {
		wanted.Published.Replaces, wanted.Problem = nil, "" // people are told once a target names it
		put, err := p.store.PutAhead(ctx, ref, stored, wanted)
		if !errors.Is(err, shards.ErrTooLarge) {
			return put, err
		}
	}
	return shards.Entry{}, p.store.Remove(ctx, ref, stored)
}

// expireAhead removes sources that no target names once all that is published of them has expired, until ctx ends.
func (p *Publisher) expireAhead(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.clock.After(removeAfter * p.options.Interval):
		}
		if !p.options.Leads() {
			continue
		}
		for _, ref := range p.store.Ahead() {
			if stored, err := p.store.Get(ref); err == nil && !stored.Named() && stored.Published.Bundle().Unexpired(p.clock.Now()).Empty() {
				_ = p.store.Remove(ctx, ref, stored) // else the next time
			}
		}
	}
}
