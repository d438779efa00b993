package resync

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

// maxNoteBytes is the most that the API server takes as the message of an Event.
const maxNoteBytes = 1024

// injected says that target was written, and how it came to that.
func (r *Resync) injected(ctx context.Context, target cabundle.Target, ref cabundle.Reference, via metrics.Path) {
	r.metrics.Injected(via, target.Kind)
	log.FromContext(ctx).Info("Injected", "source", ref)
}

// report says once, by Event and log line, that the problem of a target is another one than before, or is solved, and notes in s
// what it has said. Only the leader does, and what it has not said before, it says when it is elected. An outage says nothing about the target:
// it is counted, and logged at V(1), and reported only if it lasts longer than an interval although something answers.
func (r *Resync) report(ctx context.Context, target cabundle.Target, s *state, problem *cabundle.Problem) {
	logger := log.FromContext(ctx)
	if problem != nil && problem.Idle() { // what was wrong before, does not matter any more
		logger.V(1).Info("Nothing to inject", "detail", problem.Detail)
		s.reported, s.unreported = "", false
		return
	}
	if problem == nil {
		if s.reported != "" {
			r.event(target, s.seen.uid, corev1.EventTypeNormal, "Injected", "caBundle injected")
		}
		s.reported, s.unreported = "", false
		return
	}
	lasts := r.clock.Since(s.unknownSince) > r.options.Interval
	if problem.Outage() && !(problem.Answered && lasts) {
		logger.V(1).Info("Not injected yet", "reason", problem.Reason, "detail", problem.Detail)
		return
	}
	text := string(problem.Reason) + ": " + problem.Detail
	switch {
	case text == s.reported:
		s.unreported = false
	case !r.options.Leads(), r.own(target) && r.clock.Since(r.began) < r.options.Interval: // caject's own CA is being made
		s.unreported = true
	default:
		logger.Info("Not injected", "reason", problem.Reason, "detail", problem.Detail, "remedy", problem.Remedy)
		r.event(target, s.seen.uid, corev1.EventTypeWarning, string(problem.Reason), problem.Message())
		s.reported, s.unreported = text, false
	}
}

// nameContestant finds out who undoes what caject writes to target, and says so once. It is called before the write, while
// managedFields still shows who.
func (r *Resync) nameContestant(ctx context.Context, target cabundle.Target, s *state, c contest) contest {
	managers, err := r.targets.Managers(ctx, target)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Cannot read who changes the target", "error", err.Error())
		return c
	}
	manager := cabundle.LastManager(managers)
	if manager != c.manager {
		c.manager, c.said = manager, words{}
	}
	if c.wiped && c.said.wipes || !c.wiped && c.said.fights {
		return c
	}
	c.said.wipes, c.said.fights = c.said.wipes || c.wiped, c.said.fights || !c.wiped
	does, then := "keeps changing the caBundle back", "writes it again, ever more slowly"
	if c.wiped {
		does, then = "keeps emptying the caBundle", fmt.Sprintf("fills it again, every %s at most", restOf(target.Kind, r.options.Interval))
	}
	log.FromContext(ctx).Info("Somebody keeps undoing the injection", "manager", manager, "times", c.undone, "wiped", c.wiped)
	r.event(target, s.seen.uid, corev1.EventTypeWarning, contestReason, fmt.Sprintf(
		"field manager %q %s; caject %s (leave caBundle out of what %q applies, or remove the annotation)", manager, does, then, manager))
	return c
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
