package trial

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/caject/caject/test/playground"
)

// Proxy stands between caject and the API server. It passes on everything, caject's token included, and does what the trouble
// of the moment says.
type Proxy struct {
	server *httptest.Server

	mu          sync.Mutex
	trouble     Trouble
	over        chan struct{} // closed when the trouble is
	felt        int           // how often caject has felt it
	connections map[*connection]bool
	renewed     time.Time // when caject last wrote a Lease
}

// Trouble is what is wrong with the connection; the zero value is nothing.
type Trouble struct {
	Cut    bool          // connections are refused
	Hang   bool          // not a byte gets through, and nobody is told
	Delay  time.Duration // each write takes up to so long
	Garble bool          // a third of the writes are damaged
	Answer int           // HTTP status of all answers
	Watch  int           // HTTP status of the answers to each watch
}

// NewProxy starts one in front of the API server of config.
func NewProxy(config *rest.Config) (*Proxy, error) {
	apiServer, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(&rest.Config{Host: config.Host, TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData}})
	if err != nil {
		return nil, err
	}
	p := &Proxy{over: make(chan struct{}), connections: map[*connection]bool{}}
	silent := log.New(io.Discard, "", 0) // or it would tell of each connection that is cut
	pass := &httputil.ReverseProxy{
		ErrorLog:      silent,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(apiServer) },
		Transport:     transport,
		FlushInterval: -1, // a watch is passed on event by event
		// caject is to see what it would without a proxy.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now, _ := p.now()
		switch {
		case now.Answer != 0:
			p.feel()
			refuse(w, now.Answer)
		case now.Watch != 0 && r.URL.Query().Get("watch") != "":
			p.feel()
			refuse(w, now.Watch)
		default:
			p.note(r)
			pass.ServeHTTP(w, r)
		}
	}))
	p.server.EnableHTTP2 = true
	p.server.Listener = &listener{p.server.Listener, p}
	p.server.Config.ErrorLog = silent
	p.server.StartTLS()
	return p, nil
}

// CA returns that of the proxy's certificate, as PEM. It is the same for all proxies.
func (p *Proxy) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
}

// Kubeconfig writes a copy of a playground's kubeconfig that leads to the proxy. from and to may be the same file.
func (p *Proxy) Kubeconfig(from, to string) error {
	return playground.RedirectKubeconfig(from, to, p.server.URL, p.CA())
}

// Renewed returns when caject last wrote a Lease through the proxy: of several replicas, the one that leads does so all the
// time. It is zero if it has written none.
func (p *Proxy) Renewed() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renewed
}

// note remembers what Renewed tells.
func (p *Proxy) note(r *http.Request) {
	if r.Method == http.MethodGet || !strings.Contains(r.URL.Path, "/coordination.k8s.io/") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed = time.Now()
}

// refuse answers as the API server does.
func refuse(w http.ResponseWriter, code int) {
	status := (&apierrors.StatusError{ErrStatus: metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Message: "as the test wants",
	}}).Status()
	switch code {
	case http.StatusGone:
		status.Reason = metav1.StatusReasonExpired
	case http.StatusTooManyRequests:
		status.Reason = metav1.StatusReasonTooManyRequests
		w.Header().Set("Retry-After", "1")
	case http.StatusServiceUnavailable:
		status.Reason = metav1.StatusReasonServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(status) // caject may be gone
}

func (p *Proxy) now() (Trouble, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble, p.over
}

// feel counts that caject has felt the trouble.
func (p *Proxy) feel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.felt++
}

// Felt reports whether caject has felt the trouble.
func (p *Proxy) Felt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.felt > 0
}

// Relieve ends the trouble. The error says that caject has not felt any of it.
func (p *Proxy) Relieve() error {
	p.Set(Trouble{})
	p.mu.Lock()
	defer p.mu.Unlock()
	felt := p.felt
	if p.felt = 0; felt == 0 {
		return errors.New("caject has not felt what the proxy does")
	}
	return nil
}

// Set begins a trouble, or ends it. The connections there are break, unless it is one of the kind that nobody is told of.
func (p *Proxy) Set(t Trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.over)
	p.trouble, p.over = t, make(chan struct{})
	if t.Cut || t.Answer != 0 || t.Watch != 0 {
		for c := range p.connections {
			_ = c.Conn.Close() // it may be closed already
		}
	}
}

// Close ends it; whoever is connected is cut off.
func (p *Proxy) Close() {
	p.Set(Trouble{Cut: true})
	p.server.Close()
}

// listener accepts connections that have the proxy's trouble.
type listener struct {
	net.Listener
	proxy *Proxy
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if now, _ := l.proxy.now(); now.Cut {
			l.proxy.feel()
			_ = accepted.Close()
			continue
		}
		c := &connection{accepted, l.proxy}
		l.proxy.mu.Lock()
		l.proxy.connections[c] = true
		l.proxy.mu.Unlock()
		return c, nil
	}
}

type connection struct {
	net.Conn
	proxy *Proxy
}

// Write implements [net.Conn].
func (c *connection) Write(data []byte) (int, error) {
	now, over := c.proxy.now()
	switch {
	case now.Hang:
		c.proxy.feel()
		<-over
	case now.Delay > 0:
		c.proxy.feel()
		time.Sleep(rand.N(now.Delay))
	case now.Garble && rand.IntN(3) == 0:
		c.proxy.feel()
		data = slices.Clone(data)
		data[rand.IntN(len(data))] ^= 0x20
	}
	return c.Conn.Write(data)
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.proxy.mu.Lock()
	delete(c.proxy.connections, c)
	c.proxy.mu.Unlock()
	return c.Conn.Close()
}
