package chaos

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
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// proxy stands between caject and the API server. It passes on everything, caject's token included, and does what the trouble
// of the moment says.
type proxy struct {
	server *httptest.Server

	mu          sync.Mutex
	trouble     trouble
	over        chan struct{} // closed when the trouble is
	felt        int           // how often caject has felt it
	connections map[*connection]bool
}

// trouble is what is wrong with the connection; the zero value is nothing.
type trouble struct {
	cut    bool          // connections are refused
	hang   bool          // not a byte gets through, and nobody is told
	delay  time.Duration // each write takes up to so long
	garble bool          // a third of the writes are damaged
	answer int           // HTTP status of all answers
	watch  int           // HTTP status of the answers to each watch
}

// newProxy starts one in front of the API server of config.
func newProxy(config *rest.Config) (*proxy, error) {
	apiServer, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(&rest.Config{Host: config.Host, TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData}})
	if err != nil {
		return nil, err
	}
	p := &proxy{over: make(chan struct{}), connections: map[*connection]bool{}}
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
		case now.answer != 0:
			p.feel()
			refuse(w, now.answer)
		case now.watch != 0 && r.URL.Query().Get("watch") != "":
			p.feel()
			refuse(w, now.watch)
		default:
			pass.ServeHTTP(w, r)
		}
	}))
	p.server.EnableHTTP2 = true
	p.server.Listener = &listener{p.server.Listener, p}
	p.server.Config.ErrorLog = silent
	p.server.StartTLS()
	return p, nil
}

// ca returns the CA of the proxy's certificate, as PEM.
func (p *proxy) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
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

func (p *proxy) now() (trouble, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble, p.over
}

// feel counts that caject has felt the trouble.
func (p *proxy) feel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.felt++
}

// relieve ends the trouble. The error says that caject has not felt any of it.
func (p *proxy) relieve() error {
	p.set(trouble{})
	p.mu.Lock()
	defer p.mu.Unlock()
	felt := p.felt
	if p.felt = 0; felt == 0 {
		return errors.New("caject has not felt what the proxy does")
	}
	return nil
}

// set begins a trouble, or ends it. The connections there are break, unless it is one of the kind that nobody is told of.
func (p *proxy) set(t trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.over)
	p.trouble, p.over = t, make(chan struct{})
	if t.cut || t.answer != 0 || t.watch != 0 {
		for c := range p.connections {
			_ = c.Conn.Close() // it may be closed already
		}
	}
}

func (p *proxy) close() {
	p.set(trouble{cut: true})
	p.server.Close()
}

// listener accepts connections that have the proxy's trouble.
type listener struct {
	net.Listener
	proxy *proxy
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if now, _ := l.proxy.now(); now.cut {
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
	proxy *proxy
}

// Write implements [net.Conn].
func (c *connection) Write(data []byte) (int, error) {
	now, over := c.proxy.now()
	switch {
	case now.hang:
		c.proxy.feel()
		<-over
	case now.delay > 0:
		c.proxy.feel()
		time.Sleep(rand.N(now.delay))
	case now.garble && rand.IntN(3) == 0:
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
