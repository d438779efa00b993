package bench

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/tools/clientcmd"
)

// meter stands between an injector and the API server, and counts the bytes that the injector reads: as they are on the wire,
// encrypted, and compressed where both agree on that.
type meter struct {
	listener  net.Listener
	apiServer string // host:port
	read      atomic.Int64
	closed    chan struct{} // by Close
	done      sync.WaitGroup
}

// newMeter starts one in front of the API server of a kubeconfig, and writes a copy of that, to a file, which leads to the meter.
func newMeter(from, to string) (*meter, error) {
	config, err := clientcmd.LoadFromFile(from)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a name of the API server's certificate
	if err != nil {
		return nil, err
	}
	m := &meter{listener: listener, closed: make(chan struct{})}
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		m.apiServer = server.Host
		cluster.Server = "https://" + listener.Addr().String()
	}
	m.done.Go(m.serve)
	return m, clientcmd.WriteToFile(*config, to)
}

// Read returns how many bytes were read so far.
func (m *meter) Read() int64 { return m.read.Load() }

// Close ends it; whoever is connected is cut off.
func (m *meter) Close() error {
	err := m.listener.Close()
	close(m.closed)
	m.done.Wait()
	return err
}

func (m *meter) serve() {
	for {
		injector, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.done.Go(func() { m.forward(injector) })
	}
}

// forward copies bytes until one of both sides is done.
func (m *meter) forward(injector net.Conn) {
	defer injector.Close()
	apiServer, err := net.Dial("tcp", m.apiServer)
	if err != nil {
		return // the injector sees a connection that ends
	}
	defer apiServer.Close()
	over := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(apiServer, injector) // it ends when one side does
		over <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(counter{injector, &m.read}, apiServer)
		over <- struct{}{}
	}()
	select {
	case <-over:
	case <-m.closed:
	}
}

// counter counts what is written.
type counter struct {
	io.Writer
	n *atomic.Int64
}

// Write implements [io.Writer].
func (c counter) Write(data []byte) (int, error) {
	n, err := c.Writer.Write(data)
	c.n.Add(int64(n))
	return n, err
}
