package resync

import (
	"context"
	"encoding/base64"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

// policyLags are the waits between the tries to have a policy fill a target: the API server sees a CABundle that was
// written some milliseconds later, each one for itself.
var policyLags = []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond}

// policyRest is for how long no policy is counted on after none of the tries was of use: it takes the API server some seconds to
// evaluate one that is new.
const policyRest = 10 * time.Second

// refresh has admission bring a target up to date whose source has changed, and is known: one write, and nothing read. It
// reports whether the target is right then. (If not, it is looked at as ever.)
func (r *Resync) refresh(ctx context.Context, target cabundle.Target, known state) (look, bool) {
	if !known.known() || known.checked != known.version {
		return look{}, false
	}
	bundle, problem, ok := r.publisher.source(known.ref)
	if !ok || problem != nil || bundle.Unexpired(r.clock.Now()).Empty() {
		return look{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var object cabundle.Object
	ok = false
	byPolicy := r.policyFills() && r.publisher.ensure(ctx, known.ref)
	if byPolicy {
		object, ok = r.readmit(ctx, target, known.ref, bundle, byPolicy)
	}
	if !ok && r.webhookFills(target) {
		byPolicy = false
		object, ok = r.readmit(ctx, target, known.ref, bundle, byPolicy)
	}
	if !ok {
		return look{}, false
	}
	now, c := r.clock.Now(), known.contest
	c.written = now
	r.wrote(target, known, c, false)
	r.injected(ctx, target, known.ref, viaOf(known, byPolicy))
	return look{
		object:       object,
		version:      version(object.Generation, object.ResourceVersion, known.ref),
		outcome:      outcomeOf(bundle, nil),
		expiry:       cabundle.NextExpiry(now, object, bundle),
		sourceExpiry: bundle.FirstExpiry(),
	}, true
}

// viaOf says how it came to a write.
func viaOf(known state, byPolicy bool) metrics.Path {
	switch {
	case known.via != "":
		return known.via
	case byPolicy:
		return metrics.Policy
	}
	return metrics.Resync
}

// webhookFills reports that the webhook is counted on for target.
func (r *Resync) webhookFills(target cabundle.Target) bool {
	return r.options.Webhook && target.Kind.Admitted()
}

// policyFills reports that the policies are counted on.
func (r *Resync) policyFills() bool {
	rested := time.Duration(r.clock.Now().UnixNano() - r.policyFailed.Load())
	// Less than nothing: the clock has gone back.
	return r.options.Policy && r.publisher != nil && (rested < 0 || rested >= policyRest)
}

// readmit lets admission do the writing where it can: what it writes belongs to no field manager. byPolicy leaves out the
// webhook, which costs a call and another reading of the source. It reports whether the target, as it is returned, holds source
// then. It is a matter of ownership and speed alone: the caller writes what this leaves undone.
func (r *Resync) readmit(ctx context.Context, target cabundle.Target, ref cabundle.Reference, source cabundle.Bundle, byPolicy bool) (cabundle.Object, bool) {
	var waits []time.Duration // the webhook answers in the same request
	if byPolicy {
		waits = policyLags
		defer r.publisher.takeTurn(ref)()
	}
	for try := 0; ; try++ {
		object, err := r.targets.Readmit(ctx, target, byPolicy)
		if err != nil {
			log.FromContext(ctx).V(1).Info("Not admitted again", "error", err.Error())
			return cabundle.Object{}, false
		}
		now, annotated, malformed := cabundle.ReferenceOf(object.Annotations)
		if !annotated || malformed != nil || now != ref || object.Deleting {
			return cabundle.Object{}, false
		}
		if r.publisher.filledFrom(ref, object) || r.fits(ref, object, source) {
			if byPolicy {
				r.publisher.setEffective(ref)
			}
			return object, true
		}
		switch {
		case !byPolicy || !r.replaceable(ref, object):
			return cabundle.Object{}, false
		case try >= len(waits):
			r.policyFailed.Store(r.clock.Now().UnixNano())
			log.FromContext(ctx).V(1).Info("No admission policy fills the target; none is counted on for a while")
			return cabundle.Object{}, false
		}
		select {
		case <-ctx.Done():
			return cabundle.Object{}, false
		case <-r.clock.After(waits[try]):
		}
	}
}

// fits reports that object holds source, and all else that it should.
func (r *Resync) fits(ref cabundle.Reference, object cabundle.Object, source cabundle.Bundle) bool {
	left, _, problem := cabundle.Inject(r.clock.Now(), object, nil, source, r.combine(ref))
	return len(left) == 0 && problem == nil && object.NotInjectable == ""
}

// readmitFound is readmit for a look that has something to write.
func (r *Resync) readmitFound(ctx context.Context, target cabundle.Target, known state, found look) (metav1.ObjectMeta, bool) {
	byPolicy := !r.webhookFills(target)
	if len(found.patch) == 0 || byPolicy && !r.policyCanFill(ctx, known.ref, found.object) {
		return metav1.ObjectMeta{}, false
	}
	object, ok := r.readmit(ctx, target, known.ref, found.source, byPolicy)
	return metav1.ObjectMeta{Generation: object.Generation, ResourceVersion: object.ResourceVersion, Annotations: object.Annotations}, ok
}

// policyCanFill reports that a policy can be expected to fill object. The very first bundle of a source is faster written than
// published.
func (r *Resync) policyCanFill(ctx context.Context, ref cabundle.Reference, object cabundle.Object) bool {
	return r.policyFills() && r.publisher.published(ref).CABundle != "" && r.publisher.ensure(ctx, ref) && r.replaceable(ref, object)
}

// replaceable reports that a policy can fill object: it replaces what is empty, or was published before.
func (r *Resync) replaceable(ref cabundle.Reference, object cabundle.Object) bool {
	published := r.publisher.published(ref)
	return !slices.ContainsFunc(object.Fields, func(field cabundle.Field) bool {
		held := base64.StdEncoding.EncodeToString(field.CABundle)
		return held != "" && held != cabundle.Placeholder && held != published.CABundle && !slices.Contains(published.Replaces, held)
	})
}
