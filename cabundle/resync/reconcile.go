package resync

import (
	"context"
	"sync"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
)

// found is what a look at a target and its source has come to.
type found struct {
	looked
	object  cabundle.Object
	gone    bool          // the target is gone, or asks for something else by now: the watch will say so, too
	written bool          // its caBundles were patched
	again   bool          // somebody else was faster: nobody is told, and the look is to be repeated
	later   time.Duration // it is left to somebody else for so long, who writes it as often as caject; 0 if not
	source  ledger.Reading
	patch   []jsonpatch.Operation // of caBundles
	dropped int                   // how many certificates patch drops for want of room
	disown  []string              // injectors that own a caBundle of it
}

// right reports whether there is nothing to do.
func (f *found) right() bool {
	return !f.gone && f.problem == nil && len(f.patch)+len(f.disown) == 0
}

// isOf reports whether f is about the object that the watch has shown last.
func (f *found) isOf(s *state) bool {
	return f.version == s.seen.version && types.UID(f.object.UID) == s.seen.uid
}

// reconcile looks at one target and puts it right. It returns when to do so again, 0 for when something changes.
func (r *Resync) reconcile(ctx context.Context, target cabundle.Target) time.Duration {
	s, ok := r.tracker.get(target)
	if !ok {
		return 0
	}
	source := r.ledger.Latest(s.seen.ref)
	act, wait := next(r.clock.Now(), &s, source, r.options.Leads(), r.options.Interval)
	switch act {
	case nothing, pause:
		return wait
	case report:
		return r.tell(ctx, target, &s)
	case refuse:
		return r.settle(ctx, target, &s, &found{looked: looked{version: s.seen.version, problem: s.seen.invalid}})
	case await:
		return r.settle(ctx, target, &s, &found{looked: looked{
			version: s.seen.version, revision: s.revision(source), problem: source.Problem, source: true,
		}})
	case keep:
		f := &found{looked: s.looked}
		f.revision = s.revision(source)
		return r.settle(ctx, target, &s, f)
	case readmit:
		if f := r.readmitKnown(ctx, target, &s, source); f != nil {
			return r.settle(ctx, target, &s, f)
		}
	case check:
		if source.Began.IsZero() { // it was not read yet
			source = r.ledger.Read(ctx, s.seen.ref, cluster.Cached, metrics.Resync)
		}
		if f := r.look(ctx, target, &s, cluster.Cached, source); f.right() && f.isOf(&s) {
			return r.settle(ctx, target, &s, f)
		}
	}
	f := r.look(ctx, target, &s, cluster.Consistent, source)
	if !f.gone && (f.problem == nil || len(f.patch) > 0) && !f.right() {
		r.write(ctx, target, &s, f)
	}
	return r.settle(ctx, target, &s, f)
}

// look reads target, and its source if what is known of it is too old to write from; both at the same time. It decides what to change.
func (r *Resync) look(ctx context.Context, target cabundle.Target, s *state, freshness cluster.Freshness, source ledger.Reading) *found {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var reading sync.WaitGroup
	if freshness == cluster.Consistent && !recent(s, source) {
		reading.Go(func() { source = r.ledger.Read(ctx, s.seen.ref, freshness, metrics.Resync) })
	}
	object, err := r.targets.Get(ctx, target, freshness)
	reading.Wait()
	f := &found{object: object, source: source, looked: looked{revision: s.revision(source)}}
	if err != nil {
		f.gone, f.problem = apierrors.IsNotFound(err), targetProblem(target, err)
		return f
	}
	ref, annotated, malformed := cabundle.ReferenceOf(object.Annotations)
	f.version, f.revision = version(object, ref), revisionOf(source, cabundle.Replaces(object.Annotations))
	f.gone = !annotated || malformed != nil || ref != s.seen.ref || object.Deleting || types.UID(object.UID) != s.seen.uid
	if f.problem = object.NotInjectableProblem(); f.gone || f.problem != nil {
		return f
	}
	now := r.clock.Now()
	if f.problem = source.Problem; f.problem != nil {
		f.looked.source = true
		f.patch, _, _ = cabundle.Inject(now, object, nil, cabundle.Bundle{}, r.ledger.Combine(ref, object.Annotations))
		return f
	}
	f.patch, f.dropped, f.problem = cabundle.Inject(now, object, nil, source.Bundle, r.ledger.Combine(ref, object.Annotations))
	f.looked.source = f.problem != nil && f.problem.Reason == cabundle.SourceExpired
	f.expiry = cabundle.NextExpiry(now, object, source.Bundle)
	if f.problem == nil {
		f.disown = r.owners(object, s)
	}
	return f
}

// recent reports whether source is known well enough to write a target from it: the source has changed since the target was last looked at,
// or was read since the target was last seen to change. Of a source that cannot be used, the ledger itself sees when it can.
func recent(s *state, source ledger.Reading) bool {
	return source.Consistent && (source.Problem != nil || source.Began.After(s.seen.at) || s.looked.known && s.stale(s.revision(source)))
}

// owners returns the injectors that own a caBundle of object and are not to. cert-manager's cainjector is taken over from once only: one
// that is still at work comes back, and nobody would gain by a fight.
func (r *Resync) owners(object cabundle.Object, s *state) []string {
	injectors := []string{cluster.FieldManager}
	if !s.takenOver {
		injectors = append(injectors, cluster.CainjectorFieldManagers()...)
	}
	if len(cabundle.Disown(object.Managers, injectors...)) == 0 {
		return nil
	}
	return injectors
}

// tell reports a problem that this replica has only just come to answer for.
func (r *Resync) tell(ctx context.Context, target cabundle.Target, s *state) time.Duration {
	r.report(ctx, target, s, s.looked.problem)
	r.tracker.update(target, s.seen.uid, func(current *state) { current.reported, current.unreported = s.reported, s.unreported })
	return 0
}

// settle notes what a look came to, reports a change for better or worse, and returns when to look again.
func (r *Resync) settle(ctx context.Context, target cabundle.Target, s *state, f *found) (wait time.Duration) {
	switch {
	case f.gone:
		return 0
	case f.later > 0:
		s.looked.version, wait = "", f.later
	case f.again:
		if f.written { // what it holds is known, if not who owns it
			f.known = true
			s.looked = f.looked
		}
		wait = s.repeat(r.options.Interval)
	default:
		if f.problem != nil && !f.problem.Idle() {
			r.metrics.Refused(metrics.Resync, f.problem.Reason)
		}
		wait = s.settle(r.clock.Now(), f.looked, r.options.Interval)
		r.report(ctx, target, s, f.problem)
	}
	r.tracker.update(target, s.seen.uid, func(current *state) { current.take(*s) })
	return wait
}
