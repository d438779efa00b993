package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"

	crwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/caject/caject/webhook"
)

// tlsVersions are those that --metrics-tls-min-version can name.
var tlsVersions = map[string]uint16{
	"VersionTLS10": tls.VersionTLS10,
	"VersionTLS11": tls.VersionTLS11,
	"VersionTLS12": tls.VersionTLS12,
	"VersionTLS13": tls.VersionTLS13,
}

// admissionTLS says who may call admission, and how.
type admissionTLS struct {
	minVersion string
	// clientCAFile holds the CAs (PEM) of client certificates; empty if none is asked for.
	clientCAFile string
}

// validate checks the version: no API server needs one below 1.2.
func (a *admissionTLS) validate(wrong *mistakes) {
	if version := tlsVersions[a.minVersion]; version < tls.VersionTLS12 {
		wrong.add("tls-min-version", "%q is neither VersionTLS12 nor VersionTLS13", a.minVersion)
	}
}

// clientCAs returns the CAs of clientCAFile, or nil if none is named.
func (a *admissionTLS) clientCAs() (*x509.CertPool, error) {
	if a.clientCAFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(a.clientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read --client-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("read --client-ca-file: %s holds no certificate", a.clientCAFile)
	}
	return pool, nil
}

// webhookServer serves admission. Of a connection it bounds what controller-runtime's server does (1 MiB of headers,
// within 32 seconds, which are also for the TLS handshake; 90 seconds idle); of a request, what [webhook.NewHandler] says.
type webhookServer struct {
	crwebhook.Server
	// guard is put before each handler.
	guard func(http.Handler) http.Handler
}

// Register serves handler at path.
func (s *webhookServer) Register(path string, handler http.Handler) {
	s.Server.Register(path, s.guard(handler))
}

// newWebhookServer returns the server of admission, with the certificate that leaves hands out.
func newWebhookServer(o *options, leaves certificates) (*webhookServer, error) {
	clientCAs, err := o.admissionTLS.clientCAs()
	if err != nil {
		return nil, err
	}
	host, port, _ := splitAddress(o.webhookListenAddress) // validate has seen it
	server := &webhookServer{guard: func(h http.Handler) http.Handler { return h }}
	if clientCAs != nil {
		server.guard = webhook.RequireClientCertificate
	}
	server.Server = crwebhook.NewServer(crwebhook.Options{
		Host: host,
		Port: port,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.MinVersion = tlsVersions[o.admissionTLS.minVersion]
			c.GetCertificate = leaves.GetCertificate
			if clientCAs != nil {
				c.ClientCAs, c.ClientAuth = clientCAs, tls.VerifyClientCertIfGiven
			}
		}},
	})
	return server, nil
}
