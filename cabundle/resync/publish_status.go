package resync

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// maxGone is how many certificates a status remembers that are not published any more.
const maxGone = 16

// writeStatus brings the status up to date. The object is known.
func (p *publisher) writeStatus(ctx context.Context, of *publication, targets map[cabundle.Target]state) error {
	object, _, last := of.known()
	desired := object.DeepCopy()
	setStatus(p.clock.Now(), desired, last, targets)
	if equality.Semantic.DeepEqual(object.Status, desired.Status) {
		return nil
	}
	if err := p.bundles.UpdateStatus(ctx, desired); err != nil {
		of.seen(nil, false)
		return err
	}
	of.seen(desired, false)
	return nil
}

// setStatus sets the status of object as it should be at now.
func setStatus(now time.Time, object *v1alpha1.CABundle, last reading, targets map[cabundle.Target]state) {
	condition := metav1.Condition{
		Type: v1alpha1.Ready, Status: metav1.ConditionTrue, ObservedGeneration: object.Generation, LastTransitionTime: metav1.NewTime(now),
		Reason: "Published", Message: "the source can be injected",
	}
	if problem := problemOf(now, last); problem != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, string(problem.Reason), problem.Error()
	}
	status := &object.Status
	meta.SetStatusCondition(&status.Conditions, condition)
	status.Targets, status.Injected = int32(len(targets)), int32(injected(targets, last))
	status.Expires = nil
	if expires := last.bundle.FirstExpiry(); !expires.IsZero() {
		status.Expires = &metav1.Time{Time: expires.Truncate(time.Second)}
	}
	status.Certificates = certificatesOf(now, object, last, status.Injected < status.Targets)
}

// certificatesOf returns what the status is to say of each certificate that is published, and of those that are no more but
// that targets may still hold: those are remembered while keep is true, so that they leave the targets, whoever sees to that.
func certificatesOf(now time.Time, object *v1alpha1.CABundle, last reading, keep bool) []v1alpha1.Certificate {
	before := map[string]v1alpha1.Certificate{}
	for _, certificate := range object.Status.Certificates {
		before[certificate.Fingerprint] = certificate
	}
	var certificates []v1alpha1.Certificate
	for _, certificate := range specOf(object).Bundle().Certificates() {
		entry := v1alpha1.Certificate{
			Subject:     certificate.Subject.String(),
			Fingerprint: cabundle.Fingerprint(certificate),
			NotAfter:    metav1.Time{Time: certificate.NotAfter},
		}
		if !slices.ContainsFunc(last.bundle.Certificates(), certificate.Equal) {
			if entry.LastSeen = before[entry.Fingerprint].LastSeen; entry.LastSeen == nil {
				entry.LastSeen = &metav1.Time{Time: now.Truncate(time.Second)}
			}
		}
		delete(before, entry.Fingerprint)
		certificates = append(certificates, entry)
	}
	var gone []v1alpha1.Certificate
	for _, certificate := range object.Status.Certificates {
		_, unpublished := before[certificate.Fingerprint]
		if keep && unpublished && certificate.LastSeen != nil && now.Before(certificate.NotAfter.Time) {
			gone = append(gone, certificate)
		}
	}
	return append(gone[max(0, len(gone)-maxGone):], certificates...)
}

// problemOf returns why the source cannot be injected, or nil.
func problemOf(now time.Time, last reading) *cabundle.Problem {
	if last.problem == nil && last.bundle.Unexpired(now).Empty() {
		return cabundle.Expired(last.bundle)
	}
	return last.problem
}

// injected returns how many of targets hold what the source was last read to be.
func injected(targets map[cabundle.Target]state, last reading) int {
	n := 0
	for _, s := range targets {
		if s.looked && s.problem == "" && s.checked == s.version && !s.stale() && s.outcome == outcomeOf(last.bundle, last.problem) {
			n++
		}
	}
	return n
}
