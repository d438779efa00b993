package lead

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// lease is the lock of an election that remembers who holds it, bounds each request, and says once, not at each try, that the
// Lease is refused. That the API server is away is logged where all requests go by.
type lease struct {
	resourcelock.Interface
	timeout time.Duration
	log     logr.Logger // set before the first request

	mu      sync.Mutex // guards what follows
	refused bool
	record  []byte    // what the Lease held at the last look
	other   time.Time // until when its holder, if that is another process, is taken to be alive; zero if not
}

// heldByOther reports whether another process is known to hold the Lease.
func (l *lease) heldByOther() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.other)
}

// Get implements [resourcelock.Interface].
func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	record, raw, err := l.Interface.Get(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case apierrors.IsNotFound(err): // Create will tell
		l.other = time.Time{}
	case err != nil:
		l.note(err, apierrors.IsForbidden(err))
		return nil, nil, err
	case record.HolderIdentity == "" || record.HolderIdentity == l.Identity(): // Update will tell
		l.other = time.Time{}
	case !bytes.Equal(raw, l.record): // a sign of life. Clocks may differ: it counts from now, not from the time in the record
		l.note(nil, false)
		l.other = time.Now().Add(time.Duration(record.LeaseDurationSeconds) * time.Second)
	}
	l.record = raw
	return record, raw, err
}

// Create implements [resourcelock.Interface].
func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err := l.Interface.Create(ctx, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(err, apierrors.IsForbidden(err) || apierrors.IsNotFound(err)) // not found is the namespace
	return err
}

// Update implements [resourcelock.Interface].
func (l *lease) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err := l.Interface.Update(ctx, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.other = time.Time{}
	}
	l.note(err, apierrors.IsForbidden(err))
	return err
}

// note takes in how a request went. Errors other than a refusal change nothing. The caller holds mu.
func (l *lease) note(err error, refused bool) {
	if err != nil && !refused {
		return
	}
	if refused {
		l.other = time.Time{}
	}
	if l.refused == refused {
		return
	}
	l.refused = refused
	if refused {
		l.log.Info("No leader election: every replica acts at once", "lease", l.Describe(), "reason", err.Error())
	} else {
		l.log.Info("Leader election works", "lease", l.Describe())
	}
}
