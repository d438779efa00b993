package resync

import (
	"encoding/base64"
	"slices"
	"sync"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// publication is what is known of one CABundle.
type publication struct {
	writing sync.Mutex // held while it is written, which can take as long as the API server takes
	mu      sync.Mutex // of what follows; never held while anything is waited for

	object *v1alpha1.CABundle // as it was last seen; nil if that is not known
	absent bool               // it was last seen not to exist
	// own is what caject itself last published, or would have, had there been time. What somebody else writes there must not
	// become part of it.
	own *cabundle.Published
	// written says that own is what is stored, and all that last asks for.
	written bool

	last reading
	// turns counts how often last has changed.
	turns int

	// retired are the certificates, by fingerprint, that are to leave the targets: see retire.
	retired map[string]bool

	trying    sync.Mutex // held by the one target that tries whether the policy sees the new value
	effective string     // the value that it was last seen to fill in

	unnamedSince time.Time // when the last target was gone; zero while there are some
}

// reading is what a source was last read to be, consistently.
type reading struct {
	read    bool
	bundle  cabundle.Bundle
	problem *cabundle.Problem
}

// of returns the publication of a source.
func (p *publisher) of(ref cabundle.Reference) *publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, ok := p.publications[ref]
	if !ok {
		found = &publication{}
		p.publications[ref] = found
	}
	return found
}

// begin is called before a consistent read of a source, and its result given to note.
func (p *publisher) begin(ref cabundle.Reference) (turns int) {
	if p == nil {
		return 0
	}
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.turns
}

// note takes in what a consistent read of a source came to; turns is what begin returned.
func (p *publisher) note(ref cabundle.Reference, turns int, bundle cabundle.Bundle, problem *cabundle.Problem) {
	if p == nil || problem != nil && problem.Outage() {
		return
	}
	of := p.of(ref)
	of.mu.Lock()
	same := of.last.read && outcomeOf(bundle, problem) == outcomeOf(of.last.bundle, of.last.problem)
	if !same && of.last.read && of.last.problem == nil {
		// Targets may hold it, whether there was time to publish it or not.
		between, _ := cabundle.Publish(p.clock.Now(), of.before(), of.last.bundle, nil, p.options.Combine.Without(of.retired))
		of.own = &between
	}
	if !same {
		of.written = false
		of.take(turns, reading{true, bundle, problem})
	}
	of.mu.Unlock()
	if !same {
		p.changed(ref)
	}
}

// take sets last to another reading. If last has changed since that was begun, which of the two is the newer is not known, and
// the source is to be read again: a slow read must not bring back the CA of before. The caller holds of.mu.
func (of *publication) take(turns int, r reading) {
	if of.turns != turns {
		r = reading{}
	}
	of.last = r
	of.turns++
}

// published returns what is published of ref, as far as is known.
func (p *publisher) published(ref cabundle.Reference) cabundle.Published {
	if p == nil {
		return cabundle.Published{}
	}
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.before()
}

// filledFrom reports that object holds in each of its fields exactly what is published of ref, which has all of the source.
func (p *publisher) filledFrom(ref cabundle.Reference, object cabundle.Object) bool {
	if p == nil {
		return false
	}
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.written && len(object.Fields) > 0 && !slices.ContainsFunc(object.Fields, func(field cabundle.Field) bool {
		return base64.StdEncoding.EncodeToString(field.CABundle) != of.own.CABundle
	})
}

// takeTurn has one of many targets try until the policy sees what was published, and lets the others wait: then they need
// try only once. The caller calls what it returns when it has tried.
func (p *publisher) takeTurn(ref cabundle.Reference) (done func()) {
	of := p.of(ref)
	of.trying.Lock()
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.effective == of.before().CABundle {
		of.trying.Unlock()
		return func() {}
	}
	return of.trying.Unlock
}

// setEffective says that the policy has filled in what is published.
func (p *publisher) setEffective(ref cabundle.Reference) {
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	of.effective = of.before().CABundle
}

// before returns what was published last: by this process, or else by one before it.
func (of *publication) before() cabundle.Published {
	if of.own != nil {
		return *of.own
	}
	return specOf(of.object)
}

// source returns what the source was last read to be, consistently; ok is false if that is not known.
func (p *publisher) source(ref cabundle.Reference) (bundle cabundle.Bundle, problem *cabundle.Problem, ok bool) {
	if p == nil {
		return cabundle.Bundle{}, nil, false
	}
	of := p.of(ref)
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.last.bundle, of.last.problem, of.last.read
}

// upToDate reports that what is published is all that is known of the source.
func (of *publication) upToDate() bool {
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.written && of.last.read
}

func specOf(object *v1alpha1.CABundle) cabundle.Published {
	if object == nil {
		return cabundle.Published{}
	}
	return cabundle.Published{CABundle: object.Spec.CABundle, Replaces: object.Spec.Replaces}
}

// known returns what is known of the CABundle and its source.
func (of *publication) known() (object *v1alpha1.CABundle, absent bool, last reading) {
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.object, of.absent, of.last
}

// seen takes in what is stored; nil means that it is to be read.
func (of *publication) seen(object *v1alpha1.CABundle, absent bool) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.object, of.absent = object, absent
	if object == nil {
		of.written = false
	}
}
