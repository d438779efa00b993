package publish

import (
	"sync"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// publication is what is known of what is stored of one source.
type publication struct {
	writing sync.Mutex // held by the one that reads and writes what is stored

	stored       *Stored   // nil if it is not known
	settled      int       // the Revision of the source that is published; 0 if none
	unnamedSince time.Time // when the last target was gone; zero while there are some
	effective    string    // the value that a policy was last seen to fill in
	// turn is held by the one of many targets that tries whether the API server sees what was published.
	turn chan struct{}
}

// of returns the publication of a source.
func (p *Publisher) of(ref cabundle.Reference) *publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.publications[ref]
	if !ok {
		found = &publication{turn: make(chan struct{}, 1)}
		p.publications[ref] = found
	}
	return found
}

// known returns what is stored, as far as is known; ok is false if that is not known.
func (p *Publisher) known(of *publication) (stored Stored, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of.stored == nil {
		return Stored{}, false
	}
	return *of.stored, true
}

// Seen takes in a CABundle as a watch shows it. The watch may be behind what this process has read or written itself; not so a new list.
func (p *Publisher) Seen(object *v1alpha1.CABundle, listed bool) {
	ref, ok := cabundle.ParsePublishedSource(object.Spec.Source)
	if !ok || ref.PublishedName() != object.Name {
		return
	}
	of, seen := p.of(ref), storedOf(object)
	p.mu.Lock()
	known := of.stored != nil && of.stored.object != nil
	news := !known || cluster.Version(object) > cluster.Version(of.stored.object) ||
		listed && object.ResourceVersion != of.stored.object.ResourceVersion
	if news {
		of.stored, of.settled = &seen, 0
	}
	p.mu.Unlock()
	if news {
		p.ledger.Learn(ref, seen.History)
		p.Changed(ref)
	}
}

// Gone takes in that the CABundle of the given name is not there any more.
func (p *Publisher) Gone(name string) {
	p.mu.Lock()
	var gone []cabundle.Reference
	for ref, of := range p.publications {
		if ref.PublishedName() == name {
			of.stored, of.settled = nil, 0
			gone = append(gone, ref)
		}
	}
	p.mu.Unlock()
	for _, ref := range gone {
		p.Changed(ref)
	}
}

// took notes what became of a write: what is stored then, or, with an error, that it is to be read.
func (p *Publisher) took(of *publication, stored Stored, err error, revision int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of.stored, of.settled = nil, 0; err == nil {
		of.stored, of.settled = &stored, revision
	}
}
