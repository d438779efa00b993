package publish

import (
	"sync"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// publication is what is known of what is stored of one source.
type publication struct {
	writing sync.Mutex // held by the one that reads and writes what is stored

	fresh        bool               // nothing was read, written or seen of it yet
	stored       *shards.Entry      // as it was last read or written; nil if that may be out of date
	settled      int                // the Revision of the source that is published; 0 if none
	shown        *v1alpha1.CABundle // nil if there is none, or it is not known
	shownAt      time.Time          // when the CABundle was last brought up to date
	unnamedSince time.Time          // when the last target was gone; zero while there are some
	effective    string             // the value that a policy was last seen to fill in
	// turn is held by the one of many targets that tries whether the API server sees what was published.
	turn chan struct{}
}

// of returns the publication of a source.
func (p *Publisher) of(ref cabundle.Reference) *publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.publications[ref]
	if !ok {
		// The first targets of a source often come together: it is shown once for them.
		found = &publication{fresh: true, shownAt: p.clock.Now().Add(delay - showEvery), turn: make(chan struct{}, 1)}
		p.publications[ref] = found
	}
	return found
}

// known returns what is stored of a source, as far as is known. The error is shards.ErrNotSynced, or nil.
func (p *Publisher) known(ref cabundle.Reference, of *publication) (shards.Entry, error) {
	p.mu.Lock()
	stored := of.stored
	p.mu.Unlock()
	if stored != nil {
		return *stored, nil
	}
	return p.store.Get(ref)
}

// Stored takes in that something else is stored of a source than before, whoever has stored it. It is for shards.New.
func (p *Publisher) Stored(ref cabundle.Reference) {
	of := p.of(ref)
	p.mu.Lock()
	of.stored, of.settled, of.fresh = nil, 0, false
	p.mu.Unlock()
	if entry, err := p.store.Get(ref); err == nil && entry.Named() {
		p.ledger.Learn(ref, entry.History)
	}
	p.Changed(ref)
}

// took notes what became of a write: what is stored then, or, with an error, that it is to be read.
func (p *Publisher) took(of *publication, stored shards.Entry, err error, revision int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of.stored, of.settled = nil, 0; err == nil {
		of.stored, of.settled, of.fresh = &stored, revision, false
	}
}
