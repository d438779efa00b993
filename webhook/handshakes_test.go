package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestHandshakes(t *testing.T) {
	const (
		served     = "served"
		old        = "tls: client offered only unsupported versions: [303]"
		suites     = "tls: no cipher suite supported by both client and server; client offered: [c013]"
		untrusted  = "remote error: tls: bad certificate"
		clientCert = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
		plain      = "tls: first record does not look like a TLS handshake"
		ended      = "EOF"
		fails      = "TLS handshakes of callers fail"
		succeeds   = "TLS handshakes of callers succeed again"
	)
	type result struct {
		Counted         int
		Fails, Succeeds int    // how often it is logged
		Cause, Remedy   string // a part
	}
	for sentence, test := range map[string]struct {
		happens []string // one each six seconds
		want    result
	}{
		"nothing happens":                      {nil, result{}},
		"a handshake fails":                    {[]string{old}, result{Counted: 1, Cause: old, Remedy: "--tls-min-version"}},
		"two do":                               {[]string{old, old}, result{Counted: 2, Cause: old, Remedy: "--tls-min-version"}},
		"they go on to":                        {[]string{old, old, old}, result{Counted: 3, Fails: 1, Cause: old, Remedy: "--tls-min-version"}},
		"it is said once":                      {[]string{old, old, old, old, old}, result{Counted: 5, Fails: 1, Cause: old, Remedy: "--tls-min-version"}},
		"somebody gets through in between":     {[]string{old, old, served, old, old}, result{Counted: 4, Cause: old, Remedy: "--tls-min-version"}},
		"they succeed again":                   {[]string{old, old, old, served, served}, result{Counted: 3, Fails: 1, Succeeds: 1}},
		"they fail anew":                       {[]string{old, old, old, served, old, old, old}, result{Counted: 6, Fails: 2, Succeeds: 1, Cause: old, Remedy: "--tls-min-version"}},
		"no cipher suite in common":            {[]string{suites}, result{Counted: 1, Cause: suites, Remedy: "cipher suite"}},
		"the certificate is not trusted":       {[]string{untrusted}, result{Counted: 1, Cause: untrusted, Remedy: "--serving-names"}},
		"the client certificate is not":        {[]string{clientCert}, result{Counted: 1, Cause: clientCert, Remedy: "--client-ca-file"}},
		"load balancers and scanners look by":  {[]string{ended, plain, ended, plain}, result{}},
		"the last one to fail is what is said": {[]string{old, old, untrusted}, result{Counted: 3, Fails: 1, Cause: untrusted, Remedy: "--serving-names"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(time.Now())
			var log bytes.Buffer
			var got result
			h := newHandshakes(func() { got.Counted++ }, clock)
			h.log = funcr.New(func(_, args string) { fmt.Fprintln(&log, args) }, funcr.Options{})
			for _, event := range test.happens {
				switch event {
				case served:
					h.served()
				default:
					line := fmt.Appendf(nil, "http: TLS handshake error from [::1]:7: %s\n", event)
					if n, err := h.Write(line); n != len(line) || err != nil {
						t.Errorf("%d bytes are written, %v", n, err)
					}
				}
				clock.Step(6 * time.Second)
			}
			cause, remedy := h.trouble()
			for part, whole := range map[string]string{test.want.Cause: cause, test.want.Remedy: remedy} {
				if !strings.Contains(whole, part) || (part == "") != (whole == "") {
					t.Errorf("%q is not in %q", part, whole)
				}
			}
			got.Cause, got.Remedy = test.want.Cause, test.want.Remedy
			got.Fails, got.Succeeds = strings.Count(log.String(), fails), strings.Count(log.String(), succeeds)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s\n%s", diff, &log)
			}
		})
	}
}

func TestOtherLinesOfTheServerAreNoHandshakes(t *testing.T) {
	h := newHandshakes(func() { t.Error("it counts") }, clocktesting.NewFakeClock(time.Now()))
	for _, line := range []string{"http: Accept error: too many open files; retrying in 5ms", "http: TLS handshake error from nobody", ""} {
		if _, err := h.Write([]byte(line)); err != nil {
			t.Error(err)
		}
	}
}

// TestHandshakesThatFail makes real ones: what net/http and crypto/tls say is what is looked for.
func TestHandshakesThatFail(t *testing.T) {
	stranger, _ := selfSigned(t, "stranger")
	for sentence, test := range map[string]struct {
		options ServerOptions
		client  func(*tls.Config)
		cause   string
		remedy  string
	}{
		"the caller speaks TLS 1.2 alone": {ServerOptions{MinTLSVersion: tls.VersionTLS13},
			func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "client offered only unsupported versions", "lower --tls-min-version"},
		"it has no suite in common": {ServerOptions{}, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, "no cipher suite supported by both", "cipher suite"},
		"it does not trust the CA":        {ServerOptions{}, func(c *tls.Config) { c.RootCAs = nil }, "bad certificate", "does not trust the certificate"},
		"it calls caject by another name": {ServerOptions{}, func(c *tls.Config) { c.ServerName = "elsewhere" }, "bad certificate", "--serving-names"},
		"the same, and it speaks TLS 1.2": {ServerOptions{}, func(c *tls.Config) { c.ServerName, c.MaxVersion = "elsewhere", tls.VersionTLS12 }, "bad certificate", "--serving-names"},
		"its client certificate is no good": {ServerOptions{ClientCAs: x509.NewCertPool()}, func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
		}, "failed to verify certificate", "--client-ca-file"},
	} {
		t.Run(sentence, func(t *testing.T) {
			failed := make(chan struct{}, 1)
			test.options.HandshakeFailed = func() { failed <- struct{}{} }
			test.options.DrainTime = time.Millisecond
			server, address, trust, _ := startServer(t, test.options)
			config := &tls.Config{RootCAs: trust, ServerName: "localhost"}
			test.client(config)
			if status, err := call(t, address, config, ""); err == nil {
				t.Fatalf("status %d", status)
			}
			select {
			case <-failed:
			case <-time.After(30 * time.Second):
				t.Fatal("it is not noticed")
			}
			for { // it is counted just before
				if cause, remedy := server.Handshakes(); strings.Contains(cause, test.cause) && strings.Contains(remedy, test.remedy) {
					break
				} else if cause != "" {
					t.Fatalf("the cause is %q, the remedy %q", cause, remedy)
				}
				time.Sleep(time.Millisecond)
			}
			if status, err := call(t, address, &tls.Config{RootCAs: trust, ServerName: "localhost"}, ""); err != nil {
				t.Fatalf("status %d, %v", status, err)
			}
			if cause, _ := server.Handshakes(); cause != "" {
				t.Errorf("after one that succeeds: %q", cause)
			}
		})
	}
}
