package publish

import (
	"context"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/shards"
)

// lags are the waits between the tries to have a policy fill a target: the API server sees what was published some milliseconds
// later, each one for itself.
var lags = [...]time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond}

// rest is for how long no policy is counted on after none of the tries was of use: it takes the API server some seconds to
// evaluate one that is new.
const rest = 10 * time.Second

// failure is a policy that does not fill: each kind has its own, and each source its own value.
type failure struct {
	ref  cabundle.Reference
	kind cabundle.Kind
}

// Readmit has a target admitted again and returns what is stored then. right reports whether that is as it should be.
type Readmit func(context.Context) (object cabundle.Object, right bool, err error)

// Fills reports whether a policy can be expected to fill object, a target of ref, now. The very first bundle of a source is
// faster written than published.
func (p *Publisher) Fills(ctx context.Context, ref cabundle.Reference, object cabundle.Object) bool {
	stored, err := p.known(ref, p.of(ref))
	if err != nil || stored.Published.CABundle == "" || !p.counted(ref, object.Kind) {
		return false
	}
	published, ok := p.ensure(ctx, ref)
	return ok && published.Fills(object)
}

// Fill has a policy fill a target of the given kind from what is published of ref: it publishes what is known of the source, and
// has the target admitted again until it is right, or holds exactly what is published. filled is false if that did not work: then the
// caller writes the target.
func (p *Publisher) Fill(ctx context.Context, ref cabundle.Reference, kind cabundle.Kind, readmit Readmit) (object cabundle.Object, filled bool) {
	if !p.counted(ref, kind) {
		return object, false
	}
	published, ok := p.ensure(ctx, ref)
	if !ok {
		return object, false
	}
	done := p.takeTurn(ctx, ref, published)
	defer done()
	for try := 0; ; try++ {
		object, right, err := readmit(ctx)
		if err != nil {
			log.FromContext(ctx).V(1).Info("Not admitted again", "error", err.Error())
			return object, false
		}
		if right || published.In(object) {
			p.setEffective(ref, published)
			p.hit(ctx, kind)
			return object, true
		}
		if !published.Fills(object) {
			return object, false
		}
		if try == len(lags) {
			p.missed(ctx, ref, kind)
			return object, false
		}
		select {
		case <-ctx.Done():
			return object, false
		case <-p.clock.After(lags[try]):
		}
	}
}

// counted reports whether the policies are counted on for targets of a kind and source.
func (p *Publisher) counted(ref cabundle.Reference, kind cabundle.Kind) bool {
	if !p.options.Policy || !slices.Contains(p.options.PolicyKinds, kind) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed[failure{ref, kind}].Left(p.clock.Now()) > 0 {
		return false
	}
	delete(p.failed, failure{ref, kind})
	return true
}

// ensure publishes what is known of a source, unless it is published already. ok is false if it could not, or if
// there is nothing that a policy could fill in.
func (p *Publisher) ensure(ctx context.Context, ref cabundle.Reference) (published cabundle.Published, ok bool) {
	of := p.of(ref)
	if stored, settled := p.settled(ref, of); settled {
		return stored.Published, stored.Published.CABundle != ""
	}
	reading := p.ledger.Latest(ref)
	if !reading.Consistent || problemOf(p.clock.Now(), reading) != nil {
		return cabundle.Published{}, false
	}
	of.writing.Lock()
	defer of.writing.Unlock()
	stored, settled := p.settled(ref, of)
	if !settled {
		var err error
		stored, _, err = p.update(ctx, ref, of)
		p.say(ctx, err)
		if err != nil {
			return cabundle.Published{}, false
		}
	}
	return stored.Published, stored.Published.CABundle != ""
}

// settled returns what is stored of a source, and whether that is all that is known of it.
func (p *Publisher) settled(ref cabundle.Reference, of *publication) (shards.Entry, bool) {
	revision := p.ledger.Latest(ref).Revision
	p.mu.Lock()
	defer p.mu.Unlock()
	if of.stored == nil || of.settled == 0 || of.settled != revision {
		return shards.Entry{}, false
	}
	return *of.stored, true
}

// takeTurn has one of many targets try until the API server sees what was published, and lets the others wait: then they need try only once.
// The caller calls done when it has tried.
func (p *Publisher) takeTurn(ctx context.Context, ref cabundle.Reference, published cabundle.Published) (done func()) {
	of := p.of(ref)
	if p.effective(of, published) {
		return func() {}
	}
	select {
	case of.turn <- struct{}{}:
	case <-ctx.Done():
		return func() {}
	}
	release := func() { <-of.turn }
	if p.effective(of, published) {
		release()
		return func() {}
	}
	return release
}

func (p *Publisher) effective(of *publication, published cabundle.Published) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return of.effective == published.CABundle
}

// setEffective notes that a policy fills in what is published.
func (p *Publisher) setEffective(ref cabundle.Reference, published cabundle.Published) {
	of := p.of(ref)
	p.mu.Lock()
	defer p.mu.Unlock()
	of.effective = published.CABundle
}
