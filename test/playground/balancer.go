package playground

import (
	"io"
	"net"
	"sync"
	"time"
)

// balancer takes TCP connections to one address to servers, as its route says for each.
type balancer struct {
	listener net.Listener
	// route returns the address of the server whose turn it is, and the road there. The address is empty if there is none.
	route func() (address string, on *road)
	// tries is how many routes are tried until a server takes the connection.
	tries int
}

// listenAt starts a balancer. It serves until its listener is closed.
func (b *balancer) listenAt(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	b.listener = listener
	return nil
}

// close ends it. Connections that there are stay.
func (b *balancer) close() error {
	if b.listener == nil {
		return nil // it was never started
	}
	return b.listener.Close()
}

func (b *balancer) serve() {
	for {
		connection, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.forward(connection)
	}
}

// forward copies bytes between a caller and a server until one of them is done, as the road is.
func (b *balancer) forward(caller net.Conn) {
	defer caller.Close()
	for range b.tries {
		address, on := b.route()
		if on == nil {
			return
		}
		if on.carry(caller, address) {
			return
		}
	}
}

// Relay takes the connections that listener accepts to address, until listener is closed.
func Relay(listener net.Listener, address string) {
	on := newRoad()
	b := &balancer{listener: listener, tries: 1, route: func() (string, *road) { return address, on }}
	b.serve()
}

// road is how callers get to one server, or to several.
type road struct {
	mu      sync.Mutex
	way     Way
	turned  chan struct{} // closed when the way is another one
	lag     time.Duration // of what the server says
	callers map[net.Conn]bool
}

func newRoad() *road {
	return &road{turned: make(chan struct{}), callers: map[net.Conn]bool{}}
}

// set sets the way from now on. Connections of before are cut, or else go the new way.
func (r *road) set(w Way, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.turned)
	r.way, r.turned = w, make(chan struct{})
	if cut {
		for caller := range r.callers {
			_ = caller.Close()
		}
	}
}

func (r *road) now() (Way, chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.way, r.turned
}

// enter notes a connection of a caller, until it calls leave, and returns the way that it goes until turned is closed.
func (r *road) enter(caller net.Conn) (way Way, turned chan struct{}, leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.callers[caller] = true
	return r.way, r.turned, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.callers, caller)
	}
}

// connections returns how many callers are on it.
func (r *road) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.callers)
}

// carry takes a caller to the server at address, and returns once they are done with each other. It returns false if no server takes the
// connection there: then the caller has said nothing yet.
func (r *road) carry(caller net.Conn, address string) bool {
	way, turned, leave := r.enter(caller)
	defer leave()
	var said io.Reader = caller
	switch {
	case way == Silent:
		lose(caller, turned)
		return true
	case way == Refused, address == "":
		return true
	case way == OldTLS:
		var err error
		if said, err = withoutVersions(caller); err != nil {
			return true
		}
	}
	callee, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer callee.Close()
	var both sync.WaitGroup
	both.Go(func() { r.pass(callee, said, r.slowness) })
	both.Go(func() { r.pass(caller, callee, func() time.Duration { return r.slowness() + r.lagging() }) })
	both.Wait()
	return true
}

// lose takes what a caller says nowhere, until it gives up or the way is another one.
func lose(caller net.Conn, turned chan struct{}) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, caller)
	}()
	select {
	case <-gone:
	case <-turned:
	}
}

// setLag has all that the server says arrive so much later from now on, in the order in which it was said.
func (r *road) setLag(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag = d
}

func (r *road) lagging() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lag
}

// pass copies bytes, lag after they were said, and only while the way is not Silent. It ends, and closes to, when one side does.
func (r *road) pass(to io.WriteCloser, from io.Reader, lag func() time.Duration) {
	type chunk struct {
		bytes []byte
		due   time.Time
	}
	line := make(chan chunk, 1<<10)
	go func() {
		defer close(line)
		for {
			bytes := make([]byte, 32<<10)
			n, err := from.Read(bytes)
			if err != nil {
				return
			}
			line <- chunk{bytes[:n], time.Now().Add(lag())}
		}
	}()
	defer to.Close()
	broken := false
	for c := range line {
		if broken {
			continue // the other side is closed, too, and says no more
		}
		time.Sleep(time.Until(c.due))
		r.admit()
		if _, err := to.Write(c.bytes); err != nil {
			broken = true
			_ = to.Close()
		}
	}
}

// slowness is how long bytes take, either way.
func (r *road) slowness() time.Duration {
	if way, _ := r.now(); way == Slow {
		return SlowBy
	}
	return 0
}

// admit returns once bytes get through.
func (r *road) admit() {
	for {
		way, turned := r.now()
		if way != Silent {
			return
		}
		<-turned
	}
}
