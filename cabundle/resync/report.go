package resync

import (
	"context"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

// maxNoteBytes is the most that the API server takes as the message of an Event.
const maxNoteBytes = 1024

// droppedReason is that of the Event about certificates that had to leave a bundle for want of room.
const droppedReason = "CertificatesDropped"

// logConstructor names the target in each line about it.
func logConstructor(base logr.Logger) func(*cabundle.Target) logr.Logger {
	return func(target *cabundle.Target) logr.Logger {
		if target == nil {
			return base
		}
		return base.WithValues("kind", target.Kind, "name", target.Name)
	}
}

// injected says that target was written, and how it came to that.
func (r *Resync) injected(ctx context.Context, target cabundle.Target, ref cabundle.Reference, via metrics.Path) {
	r.metrics.Injected(via, target.Kind)
	log.FromContext(ctx).Info("Injected", "source", ref)
}

// report says once, by Event and log line, that the problem of a target is another one than before, or is solved. It
// returns what to remember as reported. An outage is no word about the target: it is counted, and logged for those
// who look closely. It is reported only if it lasts longer than an interval although something answers.
func (r *Resync) report(ctx context.Context, target cabundle.Target, known state, problem *cabundle.Problem) string {
	logger := log.FromContext(ctx)
	if problem == nil {
		if known.reported != "" {
			r.event(target, known.uid, corev1.EventTypeNormal, "Injected", "caBundle injected")
		}
		return ""
	}
	r.metrics.Refused(metrics.Resync, problem.Reason)
	lasts := r.clock.Since(known.unknownSince) > r.options.Interval
	if problem.Outage() && !(problem.Answered && lasts) {
		logger.V(1).Info("Not injected yet", "reason", problem.Reason, "detail", problem.Detail)
		return known.reported
	}
	if !r.options.leads() {
		return known.reported // the leader does
	}
	if r.own(target) && r.clock.Since(r.began) < r.options.Interval {
		return known.reported // caject's own CA is being made
	}
	text := string(problem.Reason) + ": " + problem.Detail
	if text != known.reported {
		logger.Info("Not injected", "reason", problem.Reason, "detail", problem.Detail, "remedy", problem.Remedy)
		r.event(target, known.uid, corev1.EventTypeWarning, string(problem.Reason), problem.Message())
	}
	return text
}

// event puts an Event on target; being cluster-scoped, it has it in namespace default.
func (r *Resync) event(target cabundle.Target, uid types.UID, eventType, reason, note string) {
	if len(note) > maxNoteBytes {
		note = strings.ToValidUTF8(note[:maxNoteBytes], "")
	}
	regarding := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: target.Name, UID: uid}}
	regarding.SetGroupVersionKind(target.Kind.GroupVersionKind())
	r.events.Event(regarding, eventType, reason, note)
}
