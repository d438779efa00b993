package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	crwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// defaultDrainTime is two seconds: a connection that is idle for so long is unlikely to be used again.
const defaultDrainTime = 2 * time.Second

// shutdownTimeout is more than any call takes that is under way.
const shutdownTimeout = time.Minute

// ServerOptions say where admission is served, and to whom.
type ServerOptions struct {
	// Host and Port are the address; an empty Host means all addresses.
	Host string
	Port int
	// GetCertificate hands out the certificate to serve with.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// MinTLSVersion is the lowest version of TLS, such as tls.VersionTLS13; 0 means 1.2.
	MinTLSVersion uint16
	// ClientCAs, if set, are those of client certificates: other callers get 403. (Not a connection refused: the probe of the
	// server's own readiness has none.)
	ClientCAs *x509.CertPool
	// DrainTime is how long the server goes on after it was told to end; 0 means two seconds.
	DrainTime time.Duration
	// HandshakeFailed, if set, is called for each TLS handshake with a caller that fails.
	HandshakeFailed func()
}

// cipherSuites are those for TLS 1.2: with forward secrecy and authenticated encryption, as all of TLS 1.3. Those with AES are what FIPS
// 140-3 allows, and what a caller in FIPS mode has.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Server serves admission, over TLS. It bounds each connection as controller-runtime's server does: 1 MiB of headers, within 32
// seconds, which are also for the TLS handshake; 90 seconds idle. It is a runnable of the manager.
type Server struct {
	options ServerOptions
	// hooks has the handlers, and counts calls. It does not listen, for it would not tell of handshakes that fail.
	hooks      crwebhook.Server
	handshakes *handshakes
	started    atomic.Bool
	draining   atomic.Bool
}

// NewServer returns a Server. It listens when it is started.
func NewServer(o ServerOptions) *Server {
	if o.MinTLSVersion == 0 {
		o.MinTLSVersion = tls.VersionTLS12
	}
	if o.DrainTime == 0 {
		o.DrainTime = defaultDrainTime
	}
	return &Server{
		options:    o,
		hooks:      crwebhook.NewServer(crwebhook.Options{WebhookMux: http.NewServeMux()}),
		handshakes: newHandshakes(o.HandshakeFailed, clock.RealClock{}),
	}
}

// tls returns how connections are made.
func (s *Server) tls() *tls.Config {
	config := &tls.Config{
		NextProtos:     []string{"h2"},
		MinVersion:     s.options.MinTLSVersion,
		CipherSuites:   cipherSuites,
		GetCertificate: s.options.GetCertificate,
	}
	if s.options.ClientCAs != nil {
		config.ClientCAs, config.ClientAuth = s.options.ClientCAs, tls.VerifyClientCertIfGiven
	}
	return config
}

// Register serves h at path. Call it before Start.
func (s *Server) Register(path string, h admission.Handler) { s.hooks.Register(path, s.chain(h)) }

// chain puts before h all that a request goes through. It is built from the inside, so a request meets the last one first:
//
//	served -> drain -> client certificate -> deadline -> limits -> the review is decoded -> h
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
	return s.withServed(s.withDrain(handler))
}

// withServed notes that a caller has got through.
func (s *Server) withServed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handshakes.served()
		next.ServeHTTP(w, r)
	})
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
	listener, err := tls.Listen("tcp", s.address(), s.tls())
	if err != nil {
		return fmt.Errorf("serve admission: %w", err)
	}
	serving := context.WithoutCancel(ctx)
	server := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return serving },
		Handler:           s.hooks.WebhookMux(),
		MaxHeaderBytes:    1 << 20,
		IdleTimeout:       90 * time.Second,
		ReadHeaderTimeout: 32 * time.Second,
		ErrorLog:          stdlog.New(s.handshakes, "", 0),
	}
	s.started.Store(true)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve admission: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	time.Sleep(s.options.DrainTime)
	last, cancel := context.WithTimeout(serving, shutdownTimeout)
	defer cancel()
	return server.Shutdown(last)
}

func (s *Server) address() string {
	return net.JoinHostPort(s.options.Host, strconv.Itoa(s.options.Port))
}

// StartedChecker returns a check that fails until the server answers on its address.
func (s *Server) StartedChecker() healthz.Checker {
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		Config:    &tls.Config{InsecureSkipVerify: true}, // it asks whether anybody answers, not who
	}
	return func(r *http.Request) error {
		if !s.started.Load() {
			return errors.New("admission is not served yet")
		}
		connection, err := dialer.Dial("tcp", s.address())
		if err != nil {
			return fmt.Errorf("admission is not reachable: %w", err)
		}
		return connection.Close()
	}
}

// Handshakes returns why TLS handshakes with callers fail, and what to do; empty if the last one has succeeded.
func (s *Server) Handshakes() (cause, remedy string) { return s.handshakes.trouble() }

// Ready returns an error once the server was told to end: a healthz.Checker.
func (s *Server) Ready(*http.Request) error {
	if s.draining.Load() {
		return errors.New("caject is about to end")
	}
	return nil
}
