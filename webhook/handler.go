package webhook

import (
	"context"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// InjectPath is where the Injector is served.
const InjectPath = "/inject"

// answerMargin is kept back from the deadline of the API server, for the answer to reach it.
const answerMargin = 200 * time.Millisecond

// NewHandler returns the HTTP handler for h. It takes AdmissionReviews of at most 7 MiB (the limit of
// controller-runtime), as JSON, and honours the deadline that the API server sends.
func NewHandler(h admission.Handler) http.Handler {
	return withDeadline(&admission.Webhook{Handler: h})
}

// withDeadline ends a request's context a little before the API server stops waiting. The API server says how long
// that is in the query parameter timeout, as a Go duration, rounded up to seconds ("3s").
func withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if timeout, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil && timeout > 0 {
			ctx, cancel := context.WithTimeout(r.Context(), max(timeout-answerMargin, timeout/2))
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}
