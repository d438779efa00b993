package webhook

import (
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// InjectPath is where the Injector is served.
const InjectPath = "/inject"

// NewHandler returns the HTTP handler for h. It takes AdmissionReviews of at most maxReviewBytes, as JSON, and honours the
// deadline that the API server sends. At most maxBytesInFlight of them are worked on at the same time; those that find
// no room in time are refused with 429.
//
// What cannot be read as a review is answered with allowed: false, by controller-runtime, but without the UID of a
// request: to the API server that is no answer, but a call that failed.
func NewHandler(h admission.Handler) http.Handler {
	return withDeadline(withLimits(&admission.Webhook{Handler: h}))
}

// RequireClientCertificate answers 403 to whoever has not shown a client certificate that the TLS server has verified.
// (The TLS server lets connections without one pass, for the probe of its own readiness.)
func RequireClientCertificate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			http.Error(w, "a client certificate is needed", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
