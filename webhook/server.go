package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	crwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// defaultDrainTime is two seconds: a connection that is idle for so long is unlikely to be used again.
const defaultDrainTime = 2 * time.Second

// ServerOptions say where admission is served, and to whom.
type ServerOptions struct {
	// Host and Port are the address; an empty Host means all addresses.
	Host string
	Port int
	// GetCertificate hands out the certificate to serve with.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// MinTLSVersion is the lowest version of TLS, such as tls.VersionTLS12; 0 means 1.3.
	MinTLSVersion uint16
	// ClientCAs, if set, are those of client certificates: other callers get 403. (Not a connection refused: the probe of the
	// server's own readiness has none.)
	ClientCAs *x509.CertPool
	// DrainTime is how long the server goes on after it was told to end; 0 means two seconds.
	DrainTime time.Duration
}

// Server serves admission, over TLS. Underneath is controller-runtime's server, which bounds each connection: 1 MiB of
// headers, within 32 seconds, which are also for the TLS handshake; 90 seconds idle. It is a runnable of the manager.
type Server struct {
	options  ServerOptions
	server   crwebhook.Server
	draining atomic.Bool
}

// NewServer returns a Server. It listens when it is started.
func NewServer(o ServerOptions) *Server {
	if o.MinTLSVersion == 0 {
		o.MinTLSVersion = tls.VersionTLS13
	}
	if o.DrainTime == 0 {
		o.DrainTime = defaultDrainTime
	}
	return &Server{options: o, server: crwebhook.NewServer(crwebhook.Options{
		Host: o.Host,
		Port: o.Port,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.MinVersion = o.MinTLSVersion
			c.GetCertificate = o.GetCertificate
			if o.ClientCAs != nil {
				c.ClientCAs, c.ClientAuth = o.ClientCAs, tls.VerifyClientCertIfGiven
			}
		}},
	})}
}

// Register serves h at path. Call it before Start.
func (s *Server) Register(path string, h admission.Handler) { s.server.Register(path, s.chain(h)) }

// chain puts before h all that a request goes through. It is built from the inside, so a request meets the last one first:
//
//	drain -> client certificate -> deadline -> limits -> the review is decoded -> h
//
// The drain is outermost, so that a caller who is refused is told to close the connection, too. The deadline comes before the
// limits, since waiting for room takes time; and no body is read for which there is no room.
//
// What cannot be decoded as a review is answered with allowed: false, by controller-runtime, but without the UID of a
// request: to the API server that is no answer, but a call that failed.
func (s *Server) chain(h admission.Handler) http.Handler {
	handler := http.Handler(&admission.Webhook{Handler: h})
	handler = withLimits(handler)
	handler = withDeadline(handler)
	if s.options.ClientCAs != nil {
		handler = withClientCertificate(handler)
	}
	return s.withDrain(handler)
}

// withClientCertificate answers 403 to whoever has not shown a client certificate that TLS has verified.
func withClientCertificate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			http.Error(w, "a client certificate is needed", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// withDrain asks clients to close their connections while the server drains. When a server ends, net/http closes idle connections
// and may cut one on which a request is already under way: that call fails. So each is closed in order first, with the
// next answer on it.
func (s *Server) withDrain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close") // in HTTP/2, net/http makes a GOAWAY of it
		}
		next.ServeHTTP(w, r)
	})
}

// NeedLeaderElection says that every replica serves.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends, and then drains for a while.
func (s *Server) Start(ctx context.Context) error {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		s.draining.Store(true)
		time.AfterFunc(s.options.DrainTime, end)
	})
	defer stop()
	return s.server.Start(serving)
}

// StartedChecker returns a check that fails until the server answers on its address.
func (s *Server) StartedChecker() healthz.Checker { return s.server.StartedChecker() }

// Ready returns an error once the server was told to end: a healthz.Checker.
func (s *Server) Ready(*http.Request) error {
	if s.draining.Load() {
		return errors.New("caject is about to end")
	}
	return nil
}
