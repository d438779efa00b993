package resync

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

// look is what was found when a target and its source were read.
type look struct {
	object  cabundle.Object
	gone    bool   // the target is gone, or asks for something else by now: the watch will say so too
	version string // of the target
	outcome string // of reading the source; empty if it was not read
	expiry  time.Time
	// sourceExpiry is when the first certificate of the source expires; zero if it was not read.
	sourceExpiry time.Time

	source  cabundle.Bundle       // that the target is to hold
	patch   []jsonpatch.Operation // of caBundles
	dropped int                   // how many certificates patch drops for want of room
	disown  []jsonpatch.Operation // of their field managers
	problem *cabundle.Problem     // why not all is right once patch is written
	waiting bool                  // the problem is that of the source alone
}

// isOf reports that l is of the object that the watch has shown last.
func (l look) isOf(known state) bool {
	return l.version == known.version && types.UID(l.object.UID) == known.uid
}

// right reports that there is nothing to do.
func (l look) right() bool { return !l.gone && l.problem == nil && !l.toWrite() }

// toWrite reports that there is something to write.
func (l look) toWrite() bool { return len(l.patch)+len(l.disown) > 0 }

// Reconcile looks at one target and puts it right. Its error is always nil: what cannot be done yet is tried again,
// and reported once rather than at each try.
func (r *Resync) Reconcile(ctx context.Context, target cabundle.Target) (reconcile.Result, error) {
	defer r.work.Turn()()
	known, ok := r.tracker.get(target)
	switch {
	case !ok:
		r.retries.Forget(target)
		r.writes.Forget(target)
		return reconcile.Result{}, nil
	case !known.due(r.clock.Now()):
		return reconcile.Result{}, nil
	case r.left(target, known) > 0:
		return reconcile.Result{RequeueAfter: r.left(target, known)}, nil
	case r.rests(known) > 0 && !known.stale():
		// Somebody changes it as often as caject writes it. Nobody wins such a fight by being faster. But another CA does not wait
		// for its end.
		return reconcile.Result{RequeueAfter: r.rests(known)}, nil
	case known.invalid != nil:
		return r.settle(ctx, target, known, look{version: known.version, problem: known.invalid}), nil
	}
	if found, ok := r.refresh(ctx, target, known); ok {
		return r.settle(ctx, target, known, found), nil
	}
	// A cached answer may only conclude that there is nothing to do (yet), and not if the source is known to have changed.
	if !known.stale() {
		if known.waiting == known.version {
			// Nothing but the source was missing: the target, which may be large, is not read again for that.
			if found := r.lookAtSource(ctx, known, cluster.Cached); found.problem != nil {
				return r.settle(ctx, target, known, found), nil
			}
		} else if !known.work || !r.options.leads() {
			if found := r.look(ctx, target, known, cluster.Cached); found.right() && found.isOf(known) {
				return r.settle(ctx, target, known, found), nil
			}
		}
	}
	found := r.look(ctx, target, known, cluster.Consistent)
	if found.toWrite() {
		r.write(ctx, target, known, &found)
	}
	return r.settle(ctx, target, known, found), nil
}

// rests returns for how long a target is not written. That is never more than the interval: then the clock has gone back.
func (r *Resync) rests(known state) time.Duration {
	if left := known.notBefore.Sub(r.clock.Now()); left <= r.options.Interval {
		return left
	}
	return 0
}

// look reads target and its source, both at once, and decides what to change.
func (r *Resync) look(ctx context.Context, target cabundle.Target, known state, freshness cluster.Freshness) look {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var (
		reading sync.WaitGroup
		bundle  cabundle.Bundle
		problem *cabundle.Problem
	)
	reading.Go(func() { bundle, problem = r.read(ctx, known.ref, freshness) })
	object, err := r.targets.Get(ctx, target, freshness)
	reading.Wait()
	if err != nil {
		return look{gone: apierrors.IsNotFound(err), problem: targetProblem(target, err)}
	}
	ref, annotated, malformed := cabundle.ReferenceOf(object.Annotations)
	found := look{
		object:  object,
		gone:    !annotated || malformed != nil || ref != known.ref || object.Deleting,
		version: version(object.Generation, object.ResourceVersion, ref),
		problem: object.NotInjectableProblem(),
	}
	if found.gone || found.problem != nil {
		return found
	}
	found.outcome, found.problem = outcomeOf(bundle, problem), problem
	found.sourceExpiry = bundle.FirstExpiry()
	found.waiting = problem != nil
	if problem == nil {
		now := r.clock.Now()
		found.patch, found.dropped, found.problem = cabundle.Inject(now, object, nil, bundle, r.combine(known.ref))
		found.source = bundle
		found.expiry = cabundle.NextExpiry(now, object, bundle)
	}
	if found.problem == nil {
		injectors := []string{cluster.FieldManager}
		if !known.takenOver {
			// Once only: a cainjector that is still at work comes back, and nobody would gain by a fight.
			injectors = append(injectors, cluster.CainjectorFieldManager)
		}
		found.disown = cabundle.Disown(object.Managers, injectors...)
	}
	return found
}

// read reads a source, and counts it.
func (r *Resync) read(ctx context.Context, ref cabundle.Reference, freshness cluster.Freshness) (cabundle.Bundle, *cabundle.Problem) {
	turns := r.publisher.begin(ref)
	bundle, problem := readSource(ctx, r.sources, ref, freshness)
	r.metrics.SourceRead(metrics.Resync, problem)
	if freshness == cluster.Consistent {
		r.publisher.note(ref, turns, bundle, problem)
	}
	return bundle, problem
}

// lookAtSource reads the source of a target alone; the problem, if any, is the source's.
func (r *Resync) lookAtSource(ctx context.Context, known state, freshness cluster.Freshness) look {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	bundle, problem := r.read(ctx, known.ref, freshness)
	return look{version: known.version, outcome: outcomeOf(bundle, problem), problem: problem, waiting: problem != nil}
}

// write has what is found to be wrong put right, if the object is still as it was read, and says in found what came of it.
func (r *Resync) write(ctx context.Context, target cabundle.Target, known state, found *look) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// What has expired goes without anybody having changed the target.
	contest, same := known.contest, found.outcome == known.outcome && !known.expired(r.clock.Now())
	if len(found.patch) > 0 {
		contest = r.next(ctx, target, known, same)
	}
	written, readmitted := r.readmitFound(ctx, target, known, *found)
	if !readmitted {
		var err error
		if written, err = r.targets.Patch(ctx, found.object, slices.Concat(found.patch, found.disown)); err != nil {
			found.gone = apierrors.IsNotFound(err)
			found.problem = targetProblem(target, err)
			return
		}
		if taken := !known.takenOver && slices.ContainsFunc(found.object.Managers, isCainjector); taken {
			r.tracker.update(target, known.uid, func(s *state) { s.takenOver = true })
			log.FromContext(ctx).Info("Taken over from cert-manager's cainjector")
		}
		if disowned, err := r.targets.Disown(ctx, target, written); err == nil {
			written = disowned
		} else {
			log.FromContext(ctx).V(1).Info("caject still owns the caBundle; the next look tries again", "error", err.Error())
		}
	}
	ref, _, _ := cabundle.ReferenceOf(written.Annotations)
	found.version = version(written.Generation, written.ResourceVersion, ref)
	if len(found.patch) == 0 {
		return
	}
	r.injected(ctx, target, ref, viaOf(known, readmitted && !r.webhookFills(target)))
	if found.dropped > 0 {
		r.event(target, known.uid, corev1.EventTypeWarning, droppedReason, cabundle.DroppedMessage(found.dropped))
	}
	r.wrote(target, known, contest, same)
}

// wrote notes that caject has written target. If the source is the same as at the last look and nothing has expired, somebody
// else has changed the target, and if that happens again the next write waits, each time longer, until the target was quiet for
// a while.
func (r *Resync) wrote(target cabundle.Target, known state, c contest, same bool) {
	if known.contest.quiet(c.written, r.options.Interval) {
		r.writes.Forget(target)
	}
	notBefore := c.written
	if same {
		notBefore = c.written.Add(r.writes.When(target))
	}
	r.tracker.update(target, known.uid, func(s *state) { s.contest, s.notBefore = c, notBefore })
}

func isCainjector(manager cabundle.Manager) bool {
	return manager.CABundle && !manager.Others && manager.Name == cluster.CainjectorFieldManager
}

// settle notes what a look came to, reports a change for better or worse, and says when to look again.
func (r *Resync) settle(ctx context.Context, target cabundle.Target, known state, found look) reconcile.Result {
	if found.gone {
		r.retries.Forget(target)
		return reconcile.Result{}
	}
	again := found.problem != nil && !found.problem.Final()
	unknown := found.problem != nil && found.problem.Outage()
	since := known.unknownSince
	switch {
	case !unknown:
		since = time.Time{}
	case since.IsZero():
		since = r.clock.Now()
	}
	known.unknownSince = since
	reported := r.report(ctx, target, known, found.problem)
	r.tracker.update(target, known.uid, func(s *state) {
		s.reported, s.unknownSince, s.dueSince = reported, since, time.Time{}
		if unknown {
			s.checked = "" // and what was known before stays
			return
		}
		s.answered, s.outcome, s.expiry = known.refreshes, found.outcome, found.expiry
		s.looked, s.problem = true, ""
		if found.problem != nil {
			s.problem = found.problem.Reason
		}
		if !found.sourceExpiry.IsZero() {
			s.sourceExpiry = found.sourceExpiry
		}
		s.checked, s.waiting, s.via = found.version, "", ""
		if again {
			s.checked = ""
		}
		if found.waiting {
			s.waiting = found.version
		}
	})
	if !unknown && r.overtaken(known.ref, found.outcome) {
		r.tracker.outdate(target, known.uid)
	}
	if again {
		pause := r.retries.When(target)
		if unknown {
			pause = min(pause, outageRetry)
		}
		return reconcile.Result{RequeueAfter: pause}
	}
	r.retries.Forget(target)
	return reconcile.Result{}
}

// overtaken reports that a look read of a source what is not known to be the latest: another read, such as that after a hint,
// has found something else. It may have ended first, and passed over a target that nothing was known of yet.
func (r *Resync) overtaken(ref cabundle.Reference, outcome string) bool {
	bundle, problem, ok := r.publisher.source(ref)
	return ok && differs(outcome, outcomeOf(bundle, problem))
}

// targetProblem says why a target could not be read or written.
func targetProblem(target cabundle.Target, err error) *cabundle.Problem {
	switch {
	case apierrors.IsConflict(err):
		// Somebody else wrote in between: the next look sees what.
		return &cabundle.Problem{Reason: cabundle.TargetUnavailable, Detail: err.Error()}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &cabundle.Problem{
			Reason: cabundle.TargetRefused,
			Detail: fmt.Sprintf("the API server does not accept the bundle: %v", err),
			Remedy: "correct the object",
		}
	case apierrors.IsForbidden(err):
		return &cabundle.Problem{
			Reason: cabundle.TargetForbidden,
			Detail: fmt.Sprintf("caject may not read or patch %s: %v", target, err),
			Remedy: "let its role get and patch it",
		}
	default:
		return &cabundle.Problem{
			Reason:   cabundle.TargetUnavailable,
			Detail:   err.Error(),
			Answered: cluster.Answered(err),
		}
	}
}
