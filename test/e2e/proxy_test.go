package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/caject/caject/test/playground"
)

// TestAProxyInBetween has caject reach the API server through an HTTP proxy, as the chart's extraEnv says, and not where NO_PROXY says so. While
// there is no proxy, caject goes on as if there were no API server.
func TestAProxyInBetween(t *testing.T) {
	t.Parallel()
	proxy := &connectProxy{}
	if err := proxy.start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.stop)
	i := own(t, append(proxied(proxy.address, "no-proxy.example.com"), "resyncInterval=1s")...)
	server := i.elsewhere(t)
	process := i.run(t, "caject.log")
	getsReady(t, process)
	i.works(t, "through")
	if opened := proxy.opened(); len(opened) != 1 || opened[server] == 0 {
		t.Errorf("the proxy has been asked for %v, not for %s alone", opened, server)
	}

	proxy.stop()
	eventually(t, "it is told of", func(context.Context) error {
		if process.Logged("API server unreachable") == 0 {
			return errors.New(process.ReadLog())
		}
		return nil
	})
	ca := playground.NewCA("meanwhile")
	i.create(t, playground.NewSecret(namespace, "meanwhile", ca))
	crd := playground.NewCRD("meanwhile", playground.FromSecret(namespace, "meanwhile"))
	i.create(t, crd)
	if err := playground.Holds(crd, ca); err == nil {
		t.Error("it is filled, so caject has another way to the API server")
	}
	if !process.Ready(t.Context()) || !process.Probe(t.Context(), "/livez") {
		t.Error("it is not ready, or not live")
	}
	if err := proxy.start(proxy.address); err != nil {
		t.Fatal(err)
	}
	i.filled(t, crd, ca)
	i.works(t, "again")
}

// TestTheAPIServerIsInNoProxy has no proxy that answers: caject does without.
func TestTheAPIServerIsInNoProxy(t *testing.T) {
	t.Parallel()
	i := own(t, proxied(fmt.Sprintf("127.0.0.1:%d", freePort(t)), `no-proxy.example.com\,0.0.0.0/8`)...)
	i.elsewhere(t)
	getsReady(t, i.run(t, "caject.log"))
	i.works(t, "without")
}

// getsReady fails the test unless a process gets ready in time: with a wrong way to the API server it never does.
func getsReady(t *testing.T, process *playground.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := process.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// proxied are values of the chart.
func proxied(proxy, except string) []string {
	return []string{
		"extraEnv[0].name=HTTPS_PROXY", "extraEnv[0].value=http://" + proxy,
		"extraEnv[1].name=NO_PROXY", "extraEnv[1].value=" + except,
	}
}

// elsewhere has caject know the API server by an address that Go programs do use a proxy for: they use none for loopback. It returns it.
func (i *installation) elsewhere(t *testing.T) (server string) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(i.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, cluster := range config.Clusters {
		host, err := url.Parse(cluster.Server)
		if err != nil {
			t.Fatal(err)
		}
		cluster.TLSServerName = host.Hostname()
		server = net.JoinHostPort("0.0.0.0", host.Port()) // it leads to loopback
		cluster.Server = "https://" + server
	}
	if err := clientcmd.WriteToFile(*config, i.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	return server
}

// connectProxy is an HTTP proxy that opens tunnels (CONNECT) to wherever it is asked to, as companies have them.
type connectProxy struct {
	address string
	server  *http.Server

	mu      sync.Mutex
	asked   map[string]int // how often, by host and port
	tunnels []net.Conn
}

// start has the proxy listen. It may have been stopped before.
func (p *connectProxy) start(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	p.address, p.server = listener.Addr().String(), &http.Server{Handler: p}
	go func() { _ = p.server.Serve(listener) }() // until it is closed
	return nil
}

// stop cuts all tunnels, and refuses connections.
func (p *connectProxy) stop() {
	_ = p.server.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, tunnel := range p.tunnels {
		_ = tunnel.Close()
	}
	p.tunnels = nil
}

// opened returns how often somebody asked for a host and port.
func (p *connectProxy) opened() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.asked)
}

// ServeHTTP implements [http.Handler].
func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	callee, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	caller, said, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = callee.Close()
		return
	}
	p.mu.Lock()
	if p.asked == nil {
		p.asked = map[string]int{}
	}
	p.asked[r.Host]++
	p.tunnels = append(p.tunnels, caller, callee)
	p.mu.Unlock()
	if _, err := io.WriteString(caller, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(callee, said)
		_ = callee.Close()
	}()
	_, _ = io.Copy(caller, callee)
	_ = caller.Close()
}
