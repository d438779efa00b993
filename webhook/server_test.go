package webhook

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

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

// echo allows each request.
type echo struct{}

func (echo) Handle(context.Context, admission.Request) admission.Response {
	return admission.Allowed("")
}

// startServer starts a server, with echo at InjectPath, and returns its address.
func startServer(t *testing.T, o ServerOptions) (server *Server, address string, trust *x509.CertPool, end func() error) {
	t.Helper()
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, address = "localhost", free.Addr().(*net.TCPAddr).Port, free.Addr().String()
	free.Close()
	certificate, ca := selfSigned(t, "localhost")
	trust = x509.NewCertPool()
	trust.AppendCertsFromPEM(ca)
	o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
	server = NewServer(o)
	server.Register(InjectPath, echo{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	end = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); server.StartedChecker()(nil) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server does not start")
		}
	}
	return server, address, trust, end
}

// call sends a request of some headers, and returns the status; 0 if there is no connection.
func call(t *testing.T, address string, config *tls.Config, header string) (int, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+InjectPath, strings.NewReader("{}"))
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

// TestServerTLS makes real connections. What it answers is the status; 0 if there is no connection.
func TestServerTLS(t *testing.T) {
	known, knownCA := selfSigned(t, "known")
	stranger, _ := selfSigned(t, "stranger")
	clientCAs := x509.NewCertPool()
	clientCAs.AppendCertsFromPEM(knownCA)
	strict, modern := ServerOptions{ClientCAs: clientCAs}, ServerOptions{MinTLSVersion: tls.VersionTLS13}
	tests := map[string]struct {
		options ServerOptions
		version uint16
		client  *tls.Certificate
		header  string
		status  int
	}{
		"TLS 1.3":                         {ServerOptions{}, tls.VersionTLS13, nil, "", 200},
		"TLS 1.2":                         {ServerOptions{}, tls.VersionTLS12, nil, "", 200},
		"TLS 1.1":                         {ServerOptions{}, tls.VersionTLS11, nil, "", 0},
		"TLS 1.3 where that is asked for": {modern, tls.VersionTLS13, nil, "", 200},
		"TLS 1.2 where 1.3 is asked for":  {modern, tls.VersionTLS12, nil, "", 0},
		"large headers":                   {ServerOptions{}, tls.VersionTLS13, nil, strings.Repeat("x", 100<<10), 200},
		"huge headers":                    {ServerOptions{}, tls.VersionTLS13, nil, strings.Repeat("x", 2<<20), 431},
		"a client certificate that nobody asks for":     {ServerOptions{}, tls.VersionTLS13, &known, "", 200},
		"client CAs, no certificate":                    {strict, tls.VersionTLS13, nil, "", 403},
		"client CAs, a certificate":                     {strict, tls.VersionTLS13, &known, "", 200},
		"client CAs, a certificate of another":          {strict, tls.VersionTLS13, &stranger, "", 0},
		"client CAs, a certificate of another, TLS 1.2": {strict, tls.VersionTLS12, &stranger, "", 0},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			test.options.DrainTime = time.Millisecond
			_, address, trust, _ := startServer(t, test.options)
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

// TestAPIServersInFIPSMode are callers that offer what FIPS 140-3 allows, and the oldest of them TLS 1.2 alone. The suites and curves are those
// of Go's FIPS 140-3 mode.
func TestAPIServersInFIPSMode(t *testing.T) {
	_, address, trust, _ := startServer(t, ServerOptions{DrainTime: time.Millisecond})
	suites := []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	}
	for sentence, version := range map[string]uint16{"TLS 1.2 alone": tls.VersionTLS12, "TLS 1.3, too": tls.VersionTLS13} {
		t.Run(sentence, func(t *testing.T) {
			config := &tls.Config{
				RootCAs: trust, ServerName: "localhost", MinVersion: tls.VersionTLS12, MaxVersion: version,
				CipherSuites: suites, CurvePreferences: []tls.CurveID{tls.CurveP256, tls.CurveP384},
			}
			var negotiated uint16
			config.VerifyConnection = func(state tls.ConnectionState) error { negotiated = state.Version; return nil }
			status, err := call(t, address, config, "")
			if status != http.StatusOK || negotiated != version {
				t.Errorf("status %d over %s: %v", status, tls.VersionName(negotiated), err)
			}
		})
	}
}

// TestOverTLS12OnlyAuthenticatedEncryption has a caller offer all that Go knows but the suites for RSA.
func TestOverTLS12OnlyAuthenticatedEncryption(t *testing.T) {
	_, address, trust, _ := startServer(t, ServerOptions{DrainTime: time.Millisecond})
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !strings.HasPrefix(suite.Name, "TLS_ECDHE_ECDSA_") {
			continue
		}
		config := &tls.Config{RootCAs: trust, ServerName: "localhost", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}}
		status, err := call(t, address, config, "")
		if strong := strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "_POLY1305_"); strong != (status == http.StatusOK) {
			t.Errorf("%s: status %d, %v", suite.Name, status, err)
		}
	}
}

// TestAServerDrainsBeforeItEnds keeps a connection that the server is to have closed, in order, before it ends. The API server's
// connections are of HTTP/2; of HTTP/1 one sees the header.
func TestAServerDrainsBeforeItEnds(t *testing.T) {
	for sentence, http2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			server, address, trust, end := startServer(t, ServerOptions{DrainTime: 2 * time.Second})
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, ServerName: "localhost"}, ForceAttemptHTTP2: http2}
			defer transport.CloseIdleConnections()
			var reused bool
			post := func() *http.Response {
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+InjectPath, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				response, err := transport.RoundTrip(request)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, response.Body); err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				return response
			}
			post()
			if response := post(); !reused || response.Close || (response.ProtoMajor == 2) != http2 {
				t.Fatalf("a connection is not kept: %+v", response)
			}
			if err := server.Ready(nil); err != nil {
				t.Errorf("before it is told to end: %v", err)
			}

			ended := make(chan error, 1)
			go func() { ended <- end() }()
			for server.Ready(nil) == nil {
				time.Sleep(time.Millisecond)
			}
			if response := post(); !reused || response.StatusCode != http.StatusOK || !http2 && !response.Close {
				t.Errorf("while it drains: reused %v, %+v", reused, response)
			}
			if post(); reused && !http2 { // a GOAWAY may still be on its way
				t.Error("the connection goes on")
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
