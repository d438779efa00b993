package cluster

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
)

const (
	// lastsAfter is how long a watch must be refused for it to be logged: an API server that is starting refuses
	// everybody for a moment, until it has read its roles.
	lastsAfter = 10 * time.Second
	// repeatAfter is how long a watch that is refused is not logged again.
	repeatAfter = time.Hour
	// forgetAfter is how long after the last refusal another one is a new one. It is well above the waits of watchBackoff.
	forgetAfter = 2 * time.Minute
)

// refusals logs a watch that the API server goes on to refuse, once an hour for each of its answers.
type refusals struct {
	log   logr.Logger
	clock clock.PassiveClock

	mu       sync.Mutex // guards byAnswer: a list runs in a goroutine of its own
	byAnswer map[string]refusal
}

type refusal struct{ first, last, logged time.Time }

func newRefusals(log logr.Logger, c clock.PassiveClock) *refusals {
	return &refusals{log: log, clock: c, byAnswer: map[string]refusal{}}
}

// note takes in what a list, or the beginning of a watch, has come to.
func (r *refusals) note(err error) {
	if err == nil {
		return
	}
	if !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
		r.log.V(1).Info("Watch ended", "error", err.Error())
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, answer := r.clock.Now(), err.Error()
	of := r.byAnswer[answer]
	if now.Sub(of.last) > forgetAfter {
		of = refusal{first: now}
	}
	of.last = now
	if now.Sub(of.first) >= lastsAfter && now.Sub(of.logged) >= repeatAfter {
		r.log.Error(err, "Cannot watch; trying again until it can")
		of.logged = now
	}
	r.byAnswer[answer] = of
}
