package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"slices"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/webhook"
)

// ownChanges returns a function that calls changed with each of our own configurations that it is called with.
func (s *servingOptions) ownChanges(changed func()) func(cabundle.Target) {
	own := s.ownConfigurations()
	return func(t cabundle.Target) {
		if slices.Contains(own, t) {
			changed()
		}
	}
}

// server returns what serves admission, with the certificate that leaves hands out; nil if nothing does. handshakeFailed is called for each
// TLS handshake that fails.
func (s *servingOptions) server(leaves certificates, handshakeFailed func()) (*webhook.Server, error) {
	if !s.serves() {
		return nil, nil
	}
	clientCAs, err := s.clientCAs()
	if err != nil {
		return nil, err
	}
	host, port, _ := splitAddress(s.webhookListenAddress) // validate has seen it
	return webhook.NewServer(webhook.ServerOptions{
		Host:            host,
		Port:            port,
		GetCertificate:  leaves.GetCertificate,
		MinTLSVersion:   tlsVersions[s.tlsMinVersion],
		ClientCAs:       clientCAs,
		HandshakeFailed: handshakeFailed,
	}), nil
}

// clientCAs returns the CAs of clientCAFile, or nil if none is named.
func (s *servingOptions) clientCAs() (*x509.CertPool, error) {
	if s.clientCAFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(s.clientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read --client-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("read --client-ca-file: %s holds no certificate", s.clientCAFile)
	}
	return pool, nil
}
