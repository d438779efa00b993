package publish

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// Summary is what the publisher has to know of the targets of a source.
type Summary struct {
	// Total is how many there are, and Injected how many of them hold what the source is now.
	Total, Injected int
	// Labels are those of the policies that fill their kinds.
	Labels map[string]bool
}

// wanted returns what is to be stored of a source: its history, and what follows from it. synced says that all targets are known:
// before that nothing is taken away for the sake of targets that seem not to be there. dropped is how many certificates were dropped for
// want of room.
func wanted(now time.Time, rules cabundle.Rules, stored Stored, reading ledger.Reading, targets Summary, synced bool) (next Stored, dropped int) {
	history, dropped := reading.History.Trim(now, cabundle.MaxSourceBytes)
	before := stored.Published.Bundle()
	if stored.object != nil { // what was dropped before is remembered for a while, and need not be told again
		dropped = 0
		for _, certificate := range before.Unexpired(now).Certificates() {
			if _, kept := history.Known[cabundle.Fingerprint(certificate)]; !kept {
				dropped++
			}
		}
	}
	next = Stored{History: stored.History, Labels: map[string]bool{}, object: stored.object}
	if history.Adds(now, stored.History) {
		next.History = history
	} else {
		history = stored.History.Complete(history)
	}
	published := rules.Published(now, history, reading.Reading, before)
	next.Published = stored.Published.Next(published, synced && targets.Injected == targets.Total)
	for _, label := range labels {
		next.Labels[label] = targets.Labels[label] || stored.Labels[label] && !synced
	}
	next.Labels[v1alpha1.NotReadyLabel] = problemOf(now, reading) != nil
	return next, dropped
}

// problemOf returns why the source cannot be injected, or nil.
func problemOf(now time.Time, reading ledger.Reading) *cabundle.Problem {
	if reading.Problem == nil && reading.Bundle.Unexpired(now).Empty() {
		return cabundle.Expired(reading.Bundle)
	}
	return reading.Problem
}

// statusOf returns what people are shown of a source.
func statusOf(now time.Time, stored Stored, reading ledger.Reading, targets Summary) v1alpha1.CABundleStatus {
	status := *stored.object.Status.DeepCopy()
	condition := metav1.Condition{
		Type: v1alpha1.Ready, Status: metav1.ConditionTrue, ObservedGeneration: stored.object.Generation, LastTransitionTime: metav1.NewTime(now),
		Reason: "Published", Message: "the source can be injected",
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
	status.Certificates = nil
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
