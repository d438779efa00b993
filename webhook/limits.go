package webhook

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// maxReviewBytes is the most that an AdmissionReview may have. It is controller-runtime's own limit, and not too
	// much: the API server takes a new object of 3 MiB, escapes <, > and & in its JSON as six bytes each, and sends
	// the old object beside it.
	maxReviewBytes = 7 << 20
	// minReviewBytes is what each review counts for at least, for what it costs beside its body.
	minReviewBytes = 64 << 10
	// maxBytesInFlight is the most that the reviews of one path have together, while they are read and answered. While
	// it is decoded a body is in memory some four times, so both paths at their limit stay below the chart's memory limit.
	// It is one review of the largest size, or 128 of the usual one.
	maxBytesInFlight = 8 << 20
	// defaultDeadline is for callers that do not say how long they wait: the API server's own default.
	defaultDeadline = 10 * time.Second
	// maxDeadline is the most that a caller can ask for: the most that timeoutSeconds of a webhook can be.
	maxDeadline = 30 * time.Second
	// answerMargin is kept back from the deadline of the API server, for the answer to reach it.
	answerMargin = 200 * time.Millisecond
)

// withDeadline ends a request's context a little before the API server stops waiting, and does not wait longer than
// that for the body of a slow caller, nor for it to read the answer. The API server says how long it waits in the query
// parameter timeout, as a Go duration, rounded up to seconds ("3s").
func withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout := defaultDeadline
		if asked, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil && asked > 0 {
			timeout = min(asked, maxDeadline)
		}
		// Neither can fail on a real connection.
		connection, now := http.NewResponseController(w), time.Now()
		_ = connection.SetReadDeadline(now.Add(timeout))
		_ = connection.SetWriteDeadline(now.Add(timeout + answerMargin))
		ctx, cancel := context.WithTimeout(r.Context(), max(timeout-answerMargin, timeout/2))
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// withLimits refuses a body that is too large without reading it, and has reviews wait, up to half of their time, while
// those before them fill maxBytesInFlight.
//
// It refuses with a status of HTTP. To the API server that is a call that failed, and the chart's failurePolicy, Ignore,
// lets the person's request go on; resync does what was left out. "Allowed", with a warning, cannot be said without
// reading the body, since an answer must repeat its UID. There is no Retry-After, at which the API server would call again
// while the person waits.
func withLimits(next http.Handler) http.Handler {
	inFlight := semaphore.NewWeighted(maxBytesInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 { // it does not say; the API server always does
			size = maxReviewBytes
		}
		if size > maxReviewBytes {
			http.Error(w, "the AdmissionReview is too large", http.StatusRequestEntityTooLarge)
			return
		}
		size = max(size, minReviewBytes)
		if !acquire(r.Context(), inFlight, size) {
			http.Error(w, "too many requests at the same time", http.StatusTooManyRequests)
			return
		}
		defer inFlight.Release(size)
		r.Body = http.MaxBytesReader(w, r.Body, maxReviewBytes)
		next.ServeHTTP(w, r)
	})
}

// acquire reports whether there was room for size bytes before half of the time of ctx was over.
func acquire(ctx context.Context, inFlight *semaphore.Weighted, size int64) bool {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	return inFlight.Acquire(ctx, size) == nil
}
