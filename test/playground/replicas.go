package playground

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Replica is one of several caject.
type Replica struct {
	*Process
	WebhookPort, HealthPort, MetricsPort int

	draining bool // it is called no more
}

// Replicas are several caject behind the chart's Service. What a Service does in a cluster, a small balancer does here: it
// takes the connections to Installation.WebhookPort to those that are ready, in turn.
type Replicas struct {
	installation *Installation
	listener     net.Listener
	stop         context.CancelFunc
	done         sync.WaitGroup

	mu       sync.Mutex
	replicas []*Replica
	ready    []*Replica
	turn     int
	started  int
	way      Way
	callers  map[net.Conn]bool // that are connected
}

// readyInterval is how often the balancer asks the replicas whether they are ready.
const readyInterval = 50 * time.Millisecond

// NewReplicas starts the balancer, without any replica behind it.
func NewReplicas(i *Installation) (*Replicas, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(i.WebhookPort)))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Replicas{installation: i, listener: listener, stop: stop, callers: map[net.Conn]bool{}}
	r.done.Go(r.serve)
	r.done.Go(func() { r.follow(ctx) })
	return r, nil
}

// Start starts one more replica, with args behind those of the chart. Its log is caject-N.log in dir.
func (r *Replicas) Start(program, dir string, args ...string) (*Replica, error) {
	replica := &Replica{}
	if err := FreePorts(&replica.WebhookPort, &replica.HealthPort, &replica.MetricsPort); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	command := r.installation.Command(program,
		fmt.Sprintf("--webhook-listen-address=localhost:%d", replica.WebhookPort),
		fmt.Sprintf("--health-listen-address=localhost:%d", replica.HealthPort),
		fmt.Sprintf("--metrics-listen-address=localhost:%d", replica.MetricsPort))
	var err error
	replica.Process, err = StartProcess(append(command, args...), replica.HealthPort, filepath.Join(dir, fmt.Sprintf("caject-%d.log", r.started)))
	if err != nil {
		return nil, err
	}
	r.started++
	r.replicas = append(r.replicas, replica)
	return replica, nil
}

// WaitReady returns once all replicas are ready, and are called.
func (r *Replicas) WaitReady(ctx context.Context) error {
	for _, replica := range r.All() {
		if err := replica.WaitReady(ctx); err != nil {
			return err
		}
	}
	time.Sleep(2 * readyInterval)
	return nil
}

// StopGently ends a replica as a kubelet does: it is called no more, a moment later it is told to end.
func (r *Replicas) StopGently(replica *Replica) error {
	r.mu.Lock()
	replica.draining = true
	r.mu.Unlock()
	time.Sleep(4 * readyInterval)
	r.mu.Lock()
	r.replicas = slices.DeleteFunc(r.replicas, func(other *Replica) bool { return other == replica })
	r.mu.Unlock()
	return replica.Stop()
}

// Forget takes out a replica that has been killed.
func (r *Replicas) Forget(replica *Replica) {
	r.mu.Lock()
	r.replicas = slices.DeleteFunc(r.replicas, func(other *Replica) bool { return other == replica })
	r.mu.Unlock()
	replica.Wait()
}

// Stop ends the replicas and the balancer.
func (r *Replicas) Stop() error {
	r.stop()
	err := r.listener.Close()
	for _, replica := range r.All() {
		err = errors.Join(err, replica.Stop())
	}
	r.done.Wait()
	return err
}

// All returns the replicas that were not stopped.
func (r *Replicas) All() []*Replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.replicas)
}

// follow asks the replicas whether they are ready.
func (r *Replicas) follow(ctx context.Context) {
	for {
		var ready []*Replica
		for _, replica := range r.All() {
			probe, cancel := context.WithTimeout(ctx, time.Second)
			if replica.Ready(probe) {
				ready = append(ready, replica)
			}
			cancel()
		}
		r.mu.Lock()
		r.ready = ready
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(readyInterval):
		}
	}
}

// next returns the replica whose turn it is, or nil if none is ready.
func (r *Replicas) next() *Replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.ready {
		r.turn++
		if replica := r.ready[r.turn%len(r.ready)]; !replica.draining {
			return replica
		}
	}
	return nil
}

func (r *Replicas) serve() {
	for {
		connection, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.forward(connection)
	}
}

// forward copies bytes between a caller and a replica until one of them is done, as the way is.
func (r *Replicas) forward(caller net.Conn) {
	defer caller.Close()
	way, leave := r.enter(caller)
	defer leave()
	replica := r.next()
	var said io.Reader = caller
	switch {
	case way == Silent:
		_, _ = io.Copy(io.Discard, caller) // until the caller gives up, or the way is another one
		return
	case way == Refused, replica == nil:
		return
	case way == OldTLS:
		var err error
		if said, err = withoutVersions(caller); err != nil {
			return
		}
	}
	callee, err := net.DialTimeout("tcp", net.JoinHostPort("localhost", strconv.Itoa(replica.WebhookPort)), time.Second)
	if err != nil {
		return
	}
	defer callee.Close()
	var both sync.WaitGroup
	pass := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from) // it ends when one side does
		_ = to.Close()
	}
	both.Go(func() { pass(callee, said) })
	both.Go(func() { pass(caller, callee) })
	both.Wait()
}
