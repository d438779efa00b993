package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/webhook"
)

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
		if _, err := o.server(nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// leaves hands out one certificate.
type leaves struct{ certificate tls.Certificate }

func (leaves) Start(context.Context) error { return nil }
func (l leaves) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &l.certificate, nil
}

// newLeaves returns leaves with a certificate for localhost, and whom to trust for it.
func newLeaves(t *testing.T) (leaves, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	trust.AddCert(parsed)
	return leaves{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, trust
}

func TestVersionsOfTLSForAdmission(t *testing.T) {
	for sentence, test := range map[string]struct {
		args    []string
		version uint16
		taken   bool
	}{
		"by default an API server that speaks TLS 1.2 alone gets through": {nil, tls.VersionTLS12, true},
		"so does one that speaks TLS 1.3":                                 {nil, tls.VersionTLS13, true},
		"nothing older does":                                              {nil, tls.VersionTLS11, false},
		"where 1.3 is asked for, 1.2 does not":                            {[]string{"--tls-min-version=VersionTLS13"}, tls.VersionTLS12, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			listener, err := net.Listen("tcp", "localhost:0")
			if err != nil {
				t.Fatal(err)
			}
			address := listener.Addr().String()
			listener.Close()
			o, err := complete(t, with(append(test.args, "--webhook-listen-address="+address)...)...)
			if err != nil {
				t.Fatal(err)
			}
			own, trust := newLeaves(t)
			server, err := o.server(own, nil)
			if err != nil {
				t.Fatal(err)
			}
			server.Register(webhook.HintPath, webhook.NewHinter(nil, nil))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- server.Start(ctx) }()
			defer func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			for deadline := time.Now().Add(30 * time.Second); server.StartedChecker()(nil) != nil; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the server does not start")
				}
			}
			connection, err := tls.Dial("tcp", address, &tls.Config{
				RootCAs: trust, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: test.version,
			})
			if (err == nil) != test.taken {
				t.Errorf("the handshake: %v", err)
			}
			if err == nil {
				connection.Close()
			}
		})
	}
}

func TestChangesOfOurOwnConfigurationsAreNoticed(t *testing.T) {
	o, err := complete(t, with("--hint-configuration=hints")...)
	if err != nil {
		t.Fatal(err)
	}
	var noticed []string
	for _, changed := range []cabundle.Target{
		{Kind: cabundle.MutatingWebhookConfiguration, Name: "c"},
		{Kind: cabundle.ValidatingWebhookConfiguration, Name: "c"},
		{Kind: cabundle.ValidatingWebhookConfiguration, Name: "hints"},
		{Kind: cabundle.CustomResourceDefinition, Name: "c"},
	} {
		o.ownChanges(func() { noticed = append(noticed, changed.Kind.GroupVersionKind().Kind+" "+changed.Name) })(changed)
	}
	if diff := cmp.Diff([]string{"MutatingWebhookConfiguration c", "ValidatingWebhookConfiguration hints"}, noticed); diff != "" {
		t.Error(diff)
	}
}
