package publish

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// bundles are the CABundles of a cluster. The errors are those of the API machinery.
type bundles interface {
	Get(ctx context.Context, name string) (*v1alpha1.CABundle, error)
	Create(context.Context, *v1alpha1.CABundle) error
	UpdateStatus(context.Context, *v1alpha1.CABundle) error
	Delete(context.Context, *v1alpha1.CABundle) error
}

// Seen takes in a CABundle as a watch shows it. The watch may be behind what this process has read or written itself; not so a new list.
// It is compared with what it should be, and nothing else is concluded from it.
func (p *Publisher) Seen(object *v1alpha1.CABundle, listed bool) {
	ref, ok := cabundle.ParseReference(object.Spec.Source)
	if !ok || ref.PublishedName() != object.Name {
		return
	}
	of := p.of(ref)
	p.mu.Lock()
	news := of.shown == nil || cluster.Version(object) > cluster.Version(of.shown) || listed && object.ResourceVersion != of.shown.ResourceVersion
	if news {
		of.shown = object
	}
	p.mu.Unlock()
	if news {
		p.Changed(ref)
	}
}

// Gone takes in that the CABundle of the given name is not there any more.
func (p *Publisher) Gone(name string) {
	p.mu.Lock()
	var gone []cabundle.Reference
	for ref, of := range p.publications {
		if ref.PublishedName() == name {
			of.shown = nil
			gone = append(gone, ref)
		}
	}
	p.mu.Unlock()
	for _, ref := range gone {
		p.Changed(ref)
	}
}

// showInTime shows a source, or returns how long to wait for that: it was written only just now. The caller holds of.writing.
func (p *Publisher) showInTime(ctx context.Context, ref cabundle.Reference, of *publication, stored shards.Entry, reading ledger.Reading) (time.Duration, error) {
	p.mu.Lock()
	rested := p.clock.Since(of.shownAt)
	p.mu.Unlock()
	if rested >= 0 && rested < showEvery { // less than 0: the clock has gone back
		return showEvery - rested, nil
	}
	return 0, p.show(ctx, ref, of, stored, reading)
}

// show brings the CABundle of a source up to date. The caller holds of.writing.
func (p *Publisher) show(ctx context.Context, ref cabundle.Reference, of *publication, stored shards.Entry, reading ledger.Reading) error {
	written := false
	shown, err := p.there(ctx, ref, of)
	if err == nil {
		status := statusOf(p.clock.Now(), shown, stored, reading, p.targets.Summary(ref, reading))
		if !equality.Semantic.DeepEqual(shown.Status, status) {
			shown = shown.DeepCopy()
			shown.Status = status
			err = p.bundles.UpdateStatus(ctx, shown)
			written = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if written {
		of.shownAt = p.clock.Now()
	}
	if of.shown = shown; err != nil {
		of.shown = nil // it is read before it is written again
	}
	return err
}

// there returns the CABundle of a source; it is made if it is not there.
func (p *Publisher) there(ctx context.Context, ref cabundle.Reference, of *publication) (*v1alpha1.CABundle, error) {
	p.mu.Lock()
	shown := of.shown
	p.mu.Unlock()
	var err error
	if shown == nil {
		if shown, err = p.bundles.Get(ctx, ref.PublishedName()); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	if err == nil && shown.Spec.Source == ref.String() {
		return shown, nil
	}
	if err == nil { // the source of a CABundle cannot be changed
		if err := p.bundles.Delete(ctx, shown); err != nil {
			return nil, err
		}
	}
	shown = &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: ref.PublishedName()}, Spec: v1alpha1.CABundleSpec{Source: ref.String()}}
	return shown, p.bundles.Create(ctx, shown)
}

// hide removes the CABundle of a source that no target names. The caller holds of.writing.
func (p *Publisher) hide(ctx context.Context, ref cabundle.Reference, of *publication) error {
	p.mu.Lock()
	shown := of.shown
	p.mu.Unlock()
	if shown == nil {
		return nil
	}
	if err := p.bundles.Delete(ctx, shown); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	of.shown = nil
	return nil
}

// sayDropped tells people that certificates had to leave a bundle for want of room.
func (p *Publisher) sayDropped(ref cabundle.Reference, of *publication, dropped int) {
	about := &corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "CABundle", Name: ref.PublishedName()}
	p.mu.Lock()
	if of.shown != nil {
		about.UID = of.shown.UID
	}
	p.mu.Unlock()
	p.events.Event(about, corev1.EventTypeWarning, DroppedReason, cabundle.DroppedMessage(dropped))
}

// statusOf returns what people are shown of a source.
func statusOf(now time.Time, shown *v1alpha1.CABundle, stored shards.Entry, reading ledger.Reading, targets Summary) v1alpha1.CABundleStatus {
	status := *shown.Status.DeepCopy()
	condition := metav1.Condition{
		Type: v1alpha1.Ready, Status: metav1.ConditionTrue, ObservedGeneration: shown.Generation, LastTransitionTime: metav1.NewTime(now),
		Reason: "Published", Message: "the source can be injected",
	}
	if len(reading.LeftOut) > 0 {
		condition.Message += "; " + cabundle.LeftOutMessage(reading.LeftOut)
	}
	if problem := problemOf(now, reading); problem != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, string(problem.Reason), problem.Error()
	}
	meta.SetStatusCondition(&status.Conditions, condition)
	status.Targets, status.Injected = int32(targets.Total), int32(targets.Injected)
	status.Expires = nil
	if expires := reading.Bundle.Unexpired(now).FirstExpiry(); !expires.IsZero() {
		status.Expires = &metav1.Time{Time: expires.Truncate(time.Second)}
	}
	status.CABundle, status.Certificates = stored.Published.CABundle, nil
	for _, certificate := range stored.Published.Bundle().Certificates() {
		shown := v1alpha1.Certificate{
			Subject:     certificate.Subject.String(),
			Fingerprint: cabundle.Fingerprint(certificate),
			NotAfter:    metav1.Time{Time: certificate.NotAfter},
		}
		if gone := stored.History.Known[shown.Fingerprint].Gone; !gone.IsZero() {
			shown.LastSeen = &metav1.Time{Time: gone}
		}
		status.Certificates = append(status.Certificates, shown)
	}
	return status
}
