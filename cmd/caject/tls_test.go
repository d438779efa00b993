package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leaf hands out one certificate.
type leaf tls.Certificate

func (leaf) Start(context.Context) error { return nil }

func (l leaf) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return (*tls.Certificate)(&l), nil
}

// selfSigned returns a certificate that is its own CA, and its PEM.
func selfSigned(t *testing.T, name string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serveAdmission starts the server of args, with one handler at /echo that counts what is sent, and returns its address.
func serveAdmission(t *testing.T, args ...string) (address string, trust *x509.CertPool) {
	t.Helper()
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	free.Close()
	o, err := complete(t, with(append(args, "--webhook-listen-address="+address)...)...)
	if err != nil {
		t.Fatal(err)
	}
	certificate, ca := selfSigned(t, "localhost")
	trust = x509.NewCertPool()
	trust.AppendCertsFromPEM(ca)
	server, err := newWebhookServer(o, leaf(certificate))
	if err != nil {
		t.Fatal(err)
	}
	server.Register("/echo", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); server.StartedChecker()(nil) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server does not start")
		}
	}
	return address, trust
}

// call sends a request of some headers, and returns the status; 0 if there is no connection.
func call(t *testing.T, address string, config *tls.Config, header string) (int, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/echo", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Header", header)
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

// TestAdmissionTLS makes real connections. What it answers is the status; 0 if there is no connection.
func TestAdmissionTLS(t *testing.T) {
	known, knownCA := selfSigned(t, "known")
	stranger, _ := selfSigned(t, "stranger")
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, knownCA, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args    []string
		version uint16
		client  *tls.Certificate
		header  string
		status  int
	}{
		"TLS 1.3":                                       {nil, tls.VersionTLS13, nil, "", 200},
		"TLS 1.2 by default":                            {nil, tls.VersionTLS12, nil, "", 0},
		"TLS 1.2 by flag":                               {[]string{"--tls-min-version=VersionTLS12"}, tls.VersionTLS12, nil, "", 200},
		"TLS 1.3 by the same flag":                      {[]string{"--tls-min-version=VersionTLS12"}, tls.VersionTLS13, nil, "", 200},
		"TLS 1.1, whatever the flag":                    {[]string{"--tls-min-version=VersionTLS12"}, tls.VersionTLS11, nil, "", 0},
		"large headers":                                 {nil, tls.VersionTLS13, nil, strings.Repeat("x", 100<<10), 200},
		"huge headers":                                  {nil, tls.VersionTLS13, nil, strings.Repeat("x", 2<<20), 431},
		"a client certificate that nobody asks for":     {nil, tls.VersionTLS13, &known, "", 200},
		"client CAs, no certificate":                    {[]string{"--client-ca-file=" + caFile}, tls.VersionTLS13, nil, "", 403},
		"client CAs, a certificate":                     {[]string{"--client-ca-file=" + caFile}, tls.VersionTLS13, &known, "", 200},
		"client CAs, a certificate of another":          {[]string{"--client-ca-file=" + caFile}, tls.VersionTLS13, &stranger, "", 0},
		"client CAs, a certificate of another, TLS 1.2": {[]string{"--client-ca-file=" + caFile, "--tls-min-version=VersionTLS12"}, tls.VersionTLS12, &stranger, "", 0},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			address, trust := serveAdmission(t, test.args...)
			config := &tls.Config{RootCAs: trust, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: test.version}
			if test.client != nil {
				// Whatever the server says that it wants.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return test.client, nil }
			}
			status, err := call(t, address, config, test.header)
			if status != test.status {
				t.Errorf("status %d, %v", status, err)
			}
		})
	}
}

func TestClientCAsThatCannotBeRead(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"/nonexistent": "no such file", empty: "holds no certificate"} {
		o, err := complete(t, with("--client-ca-file="+file)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newWebhookServer(o, leaf{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
