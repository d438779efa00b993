package playground

import (
	"context"
	"errors"
	"fmt"
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
	balancer     *balancer
	road         *road
	stop         context.CancelFunc
	done         sync.WaitGroup

	mu       sync.Mutex
	replicas []*Replica
	ready    []*Replica
	turn     int
	started  int
}

// readyInterval is how often the balancer asks the replicas whether they are ready.
const readyInterval = 50 * time.Millisecond

// NewReplicas starts the balancer, without any replica behind it.
func NewReplicas(i *Installation) (*Replicas, error) {
	r := &Replicas{installation: i, road: newRoad()}
	r.balancer = &balancer{route: r.route, tries: 1}
	if err := r.balancer.listenAt(net.JoinHostPort("localhost", strconv.Itoa(i.WebhookPort))); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.done.Go(r.balancer.serve)
	r.done.Go(func() { r.follow(ctx) })
	return r, nil
}

// SetWay sets how callers get to the replicas from now on. Connections of before are cut.
func (r *Replicas) SetWay(w Way) { r.road.set(w, true) }

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
	log := filepath.Join(dir, fmt.Sprintf("caject-%d.log", r.started))
	replica.Process, err = StartProcess(append(command, args...), replica.HealthPort, log, r.installation.Env...)
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
	err := r.balancer.close()
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

// route returns the address of the replica whose turn it is; it is empty if none is ready.
func (r *Replicas) route() (string, *road) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.ready {
		r.turn++
		if replica := r.ready[r.turn%len(r.ready)]; !replica.draining {
			return net.JoinHostPort("localhost", strconv.Itoa(replica.WebhookPort)), r.road
		}
	}
	return "", r.road
}
