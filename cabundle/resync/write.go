package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/publish"
)

// readmitKnown has admission bring a target up to date whose source has changed, and is known: one write, and nothing is read. It
// returns nil if that did not work: then the target is looked at.
func (r *Resync) readmitKnown(ctx context.Context, target cabundle.Target, s *state, source ledger.Reading) *found {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	object, byPolicy, ok := r.readmit(ctx, target, s.seen.ref, source, !s.seen.replace)
	if !ok {
		return nil
	}
	now := r.clock.Now()
	s.contest = s.contest.write(now, undoing{}, r.options.Interval)
	r.injected(ctx, target, s.seen.ref, viaOf(s, source, byPolicy))
	return &found{object: object, source: source, looked: looked{
		version:  version(object, s.seen.ref),
		revision: revisionOf(source, cabundle.Replaces(object.Annotations)),
		expiry:   cabundle.NextExpiry(now, object, source.Bundle),
	}}
}

// readmit lets admission do the writing where it can, by an empty patch: what it writes belongs to no field manager. A policy needs
// neither a call of the webhook nor another reading of the source, so it comes first, if policy says so. It is a matter of ownership and speed
// alone: the caller writes what this leaves undone.
func (r *Resync) readmit(ctx context.Context, target cabundle.Target, ref cabundle.Reference, source ledger.Reading, policy bool) (object cabundle.Object, byPolicy, ok bool) {
	try := func(byPolicy bool) publish.Readmit {
		return func(ctx context.Context) (cabundle.Object, bool, error) {
			object, err := r.targets.Readmit(ctx, target, byPolicy)
			if err != nil {
				return object, false, err
			}
			now, annotated, malformed := cabundle.ReferenceOf(object.Annotations)
			if !annotated || malformed != nil || now != ref || object.Deleting || byPolicy && cabundle.Replaces(object.Annotations) {
				return object, false, errors.New("it asks for something else by now")
			}
			return object, r.fits(ref, object, source), nil
		}
	}
	if policy {
		if object, ok = r.publisher.Fill(ctx, ref, target.Kind, try(true)); ok {
			return object, true, true
		}
	}
	if !r.countsOnWebhook(target.Kind) {
		return cabundle.Object{}, false, false
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	object, right, err := try(false)(waiting)
	r.missed(ctx, target, right, err)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Not admitted again", "error", err.Error())
	}
	return object, false, right && err == nil
}

// fits reports whether object holds source, and all else that it should.
func (r *Resync) fits(ref cabundle.Reference, object cabundle.Object, source ledger.Reading) bool {
	left, _, problem := cabundle.Inject(r.clock.Now(), object, nil, source.Bundle, r.ledger.Combine(ref, object.Annotations))
	return len(left) == 0 && problem == nil && object.NotInjectable == ""
}

// write has what f found put right, if the object is still as it was read, and notes in f what came of it.
func (r *Resync) write(ctx context.Context, target cabundle.Target, s *state, f *found) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now := r.clock.Now()
	contest := s.contest
	if len(f.patch) > 0 {
		// What has expired goes without anybody having changed the target.
		same := s.looked.known && s.looked.problem == nil && s.looked.revision == s.revision(f.source) && !s.expired(now)
		u := undoing{same: same, wiped: f.object.HoldsNone(f.patch), rest: restOf(target.Kind, r.options.Interval)}
		if !r.options.Leads() && s.seen.at.Sub(s.seen.before) < wipeGap { // the leader lets it rest
			u.left = s.seen.at.Add(u.rest)
		}
		if s.contest, f.later = contest.postpone(now, u, r.options.Interval); f.later > 0 {
			return
		}
		if contest.repeats(now, u, r.options.Interval) {
			u.budget = r.refills.ReserveN(now, 1).DelayFrom(now)
		}
		if contest = contest.write(now, u, r.options.Interval); contest.contested() {
			contest = r.nameContestant(ctx, target, s, contest)
		}
		policy := !cabundle.Replaces(f.object.Annotations) && !r.countsOnWebhook(target.Kind)
		if policy {
			policy = r.publisher.Fills(ctx, s.seen.ref, f.object)
		}
		if object, byPolicy, ok := r.readmit(ctx, target, s.seen.ref, f.source, policy); ok {
			s.contest = contest
			f.version, f.written = version(object, s.seen.ref), true
			r.injected(ctx, target, s.seen.ref, viaOf(s, f.source, byPolicy))
			if len(f.disown) > 0 {
				r.disown(ctx, target, s, f, object)
			}
			return
		}
	}
	r.patch(ctx, target, s, f)
	if f.written {
		s.contest = contest
	}
}

// patch writes what f found, and removes the injectors that own it then.
func (r *Resync) patch(ctx context.Context, target cabundle.Target, s *state, f *found) {
	stored := f.object
	if len(f.patch) > 0 {
		var err error
		if stored, err = r.targets.Patch(ctx, f.object, f.patch); err != nil {
			f.gone, f.again = apierrors.IsNotFound(err), r.overtaken(ctx, f.object, err)
			f.problem, f.looked.source = targetProblem(target, err), false
			return
		}
		f.written = true
		r.injected(ctx, target, s.seen.ref, viaOf(s, f.source, false))
		if f.dropped > 0 {
			r.event(target, s.seen.uid, corev1.EventTypeWarning, publish.DroppedReason, cabundle.DroppedMessage(f.dropped))
		}
	}
	r.disown(ctx, target, s, f, stored)
}

// disown removes the injectors that f found, and caject itself, from the owners of stored, which is what was read or written last.
func (r *Resync) disown(ctx context.Context, target cabundle.Target, s *state, f *found, stored cabundle.Object) {
	injectors := f.disown
	if len(injectors) == 0 {
		injectors = []string{cluster.FieldManager}
	}
	stored, err := r.targets.Disown(ctx, stored, injectors...)
	if err != nil {
		// Another replica was faster, or somebody else wrote. It is no problem of the target.
		log.FromContext(ctx).V(1).Info("An injector still owns the caBundle; the next look tries again", "error", err.Error())
		f.again = true
		return
	}
	if !s.takenOver && slices.ContainsFunc(f.object.Managers, isCainjector) {
		s.takenOver = true
		log.FromContext(ctx).Info("Taken over from cert-manager's cainjector")
	}
	ref, _, _ := cabundle.ReferenceOf(stored.Annotations)
	f.version = version(stored, ref)
}

func isCainjector(manager cabundle.Manager) bool {
	return manager.CABundle && slices.Contains(cluster.CainjectorFieldManagers(), manager.Name)
}

// overtaken reports whether a write has failed with err because somebody else has changed object since it was read. A patch of a
// webhook that is not there any more is Invalid rather than a Conflict.
func (r *Resync) overtaken(ctx context.Context, object cabundle.Object, err error) bool {
	if apierrors.IsConflict(err) {
		return true
	}
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return false
	}
	now, err := r.targets.Get(ctx, object.Target, cluster.Consistent)
	return err == nil && now.ResourceVersion != object.ResourceVersion
}

// viaOf says how it came to a write of the target of s.
func viaOf(s *state, source ledger.Reading, byPolicy bool) metrics.Path {
	switch {
	case hinted(s, source):
		return metrics.Hint
	case byPolicy:
		return metrics.Policy
	}
	return metrics.Resync
}

// targetProblem says why a target could not be read or written.
func targetProblem(target cabundle.Target, err error) *cabundle.Problem {
	switch {
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
		return &cabundle.Problem{Reason: cabundle.TargetUnavailable, Detail: err.Error(), Answered: cluster.Answered(err)}
	}
}
