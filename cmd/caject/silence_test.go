package main

import (
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// TestAnAPIServerThatSaysNothingAnyMore is about a connection on which a request was answered before (kubernetes/kubernetes#44557; 45 s by
// client-go alone: #141318).
func TestAnAPIServerThatSaysNothingAnyMore(t *testing.T) {
	for _, name := range []string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS", "HTTP2_PING_TIMEOUT_SECONDS"} {
		t.Setenv(name, "")
	}
	if err := noticeSilence(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	muting := &muting{Listener: server.Listener}
	server.Listener, server.EnableHTTP2 = muting, true
	server.StartTLS()
	defer server.Close()
	client, err := rest.HTTPClientFor(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{
		CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		response, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.ProtoMajor != 2 {
			t.Fatalf("asked over %s", response.Proto)
		}
	}
	ask()
	muting.last.Load().mute.Store(true)
	began := time.Now()
	if _, err := client.Get(server.URL); err == nil {
		t.Error("a request on a connection that says nothing is answered")
	}
	if took, most := time.Since(began), 30*time.Second; took > most {
		t.Errorf("the connection is given up after %s", took)
	}
	ask()
}

// muting accepts connections that can be muted.
type muting struct {
	net.Listener
	last atomic.Pointer[mutable]
}

func (m *muting) Accept() (net.Conn, error) {
	accepted, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &mutable{Conn: accepted}
	m.last.Store(c)
	return c, nil
}

// mutable is a connection on which the server can fall silent: what it writes is lost.
type mutable struct {
	net.Conn
	mute atomic.Bool
}

func (c *mutable) Write(data []byte) (int, error) {
	if c.mute.Load() {
		return len(data), nil
	}
	return c.Conn.Write(data)
}
