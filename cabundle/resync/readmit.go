package resync

import (
	"context"
	"encoding/base64"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

// policyLags are the waits between the tries to have a policy fill a target: the API server sees a CABundle that was
// written some milliseconds later, each one for itself.
var policyLags = []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond}

// policyRest is for how long no policy is counted on after none of the tries was of use.
const policyRest = time.Minute

// readmit lets admission do the writing where it can: what it writes belongs to no field manager. It reports whether the
// target is right then, and returns its metadata. It is a matter of ownership and speed alone: the caller writes what
// this leaves undone.
func (r *Resync) readmit(ctx context.Context, target cabundle.Target, known state, found look) (metav1.ObjectMeta, bool) {
	if len(found.patch) == 0 {
		return metav1.ObjectMeta{}, false
	}
	waits := policyLags
	switch {
	case target.Kind.FilledAtAdmission() && r.options.Webhook:
		waits = nil // it answers in the same request
	case !target.Kind.FilledAtAdmission() && r.byPolicy(ctx, known.ref, found.object):
	default:
		return metav1.ObjectMeta{}, false
	}
	for try := 0; ; try++ {
		object, err := r.targets.Readmit(ctx, target)
		if err != nil {
			log.FromContext(ctx).V(1).Info("Not admitted again", "error", err.Error())
			return metav1.ObjectMeta{}, false
		}
		if left, problem := cabundle.Inject(r.clock.Now(), object, nil, found.source, r.options.Combine); len(left) == 0 && problem == nil {
			return metav1.ObjectMeta{
				Generation: object.Generation, ResourceVersion: object.ResourceVersion, Annotations: object.Annotations,
			}, true
		}
		if try >= len(waits) {
			break
		}
		select {
		case <-ctx.Done():
			return metav1.ObjectMeta{}, false
		case <-r.clock.After(waits[try]):
		}
	}
	if waits != nil {
		r.policyFailed.Store(r.clock.Now().UnixNano())
		log.FromContext(ctx).V(1).Info("No admission policy fills the target: writing it")
	}
	return metav1.ObjectMeta{}, false
}

// byPolicy publishes the source, if that is still to be done, and reports that a policy can fill object: it replaces what
// is empty, or was published before. The very first bundle of a source is faster written than published.
func (r *Resync) byPolicy(ctx context.Context, ref cabundle.Reference, object cabundle.Object) bool {
	if !r.options.Policy || r.publisher == nil || r.clock.Now().UnixNano()-r.policyFailed.Load() < int64(policyRest) {
		return false
	}
	if r.publisher.published(ref).CABundle == "" || !r.publisher.ensure(ctx, ref) {
		return false
	}
	published := r.publisher.published(ref)
	for _, field := range object.Fields {
		held := base64.StdEncoding.EncodeToString(field.CABundle)
		if held != "" && held != "Cg==" && held != published.CABundle && !slices.Contains(published.Replaces, held) {
			return false
		}
	}
	return true
}
