// Package trial is what the tests of faults, load and endurance share: a playground with targets and rotating sources, and
// a census that looks at each state of each target.
package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// Namespace is where the sources are.
const Namespace = "trial"

// World is a control plane with the chart installed, and caject behind a balancer.
type World struct {
	Control      *playground.ControlPlane
	Installation *playground.Installation
	Replicas     *playground.Replicas
	Client       client.WithWatch // the admin's, of the first API server
	Program      string
	// APIServers are all, if there are several. caject reaches them through their balancer.
	APIServers *playground.APIServers
	// Clients are the admin's, of each API server; Client is the first of them.
	Clients []client.Client

	dir     string
	proxied bool
	mu      sync.Mutex
	proxies map[*playground.Replica]*Proxy
	started int // proxies, ever
}

// Options say what NewWorld makes.
type Options struct {
	// Program is caject's binary.
	Program string
	// Replicas is how many of them run.
	Replicas int
	// APIServers is how many kube-apiservers run; 0 is one.
	APIServers int
	// APIServer is the path of kube-apiserver; empty for that of bin.
	APIServer string
	// Values are set in the chart, as helm's --set.
	Values []string
	// Install, if set, takes the place of [playground.Install].
	Install func(context.Context, *playground.ControlPlane, ...string) (*playground.Installation, error)
	// Args are added to those of the chart.
	Args []string
	// Proxies has each caject reach the API server through a proxy of its own: see [World.Proxy].
	Proxies bool
	// Before, if set, is called before caject starts.
	Before func(*World) error
}

// NewWorld starts all, and waits until caject is ready. Close ends it.
func NewWorld(ctx context.Context, o Options) (w *World, err error) {
	root, err := playground.Root()
	if err != nil {
		return nil, err
	}
	w = &World{Program: o.Program, proxied: o.Proxies, proxies: map[*playground.Replica]*Proxy{}}
	if w.dir, err = os.MkdirTemp("", "caject-trial-"); err != nil {
		return nil, err
	}
	if w.Control, err = playground.StartControlPlane(root, w.dir, playground.UseAPIServer(o.APIServer)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(w.dir))
	}
	if err := w.start(ctx, o); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) start(ctx context.Context, o Options) (err error) {
	if o.APIServers > 1 {
		if w.APIServers, err = w.Control.AddAPIServers(o.APIServers - 1); err != nil {
			return err
		}
	}
	if err := w.connect(); err != nil {
		return err
	}
	install := playground.Install
	if o.Install != nil {
		install = o.Install
	}
	if w.Installation, err = install(ctx, w.Control, o.Values...); err != nil {
		return err
	}
	if err := w.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}); err != nil {
		return err
	}
	w.Installation.Args = append(w.Installation.Args, o.Args...)
	if o.Before != nil {
		if err := o.Before(w); err != nil {
			return err
		}
	}
	if w.Replicas, err = playground.NewReplicas(w.Installation); err != nil {
		return err
	}
	for range o.Replicas {
		if _, err := w.Start(); err != nil {
			return err
		}
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return w.Replicas.WaitReady(wait)
}

// connect makes the clients.
func (w *World) connect() (err error) {
	if w.Client, err = newClient(w.Control.Config); err != nil {
		return err
	}
	w.Clients = []client.Client{w.Client}
	if w.APIServers == nil {
		return nil
	}
	for _, server := range w.APIServers.All()[1:] {
		c, err := newClient(server.Config)
		if err != nil {
			return err
		}
		w.Clients = append(w.Clients, c)
	}
	return nil
}

// newClient returns one that prints no warnings.
func newClient(config *rest.Config) (client.WithWatch, error) {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	return playground.NewClient(config)
}

// Proxy returns the proxy of a replica that is running, in a world that has such.
func (w *World) Proxy(replica *playground.Replica) *Proxy {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proxies[replica]
}

// renewal is within what time a replica that leads has renewed its Lease; it tries to every two seconds.
const renewal = 5 * time.Second

// Leader returns the replica that leads, in a world with proxies: the one that has written the Lease last. It is nil while none
// renews it.
func (w *World) Leader() *playground.Replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	var leader *playground.Replica
	last := time.Now().Add(-renewal)
	for replica, proxy := range w.proxies {
		if renewed := proxy.Renewed(); renewed.After(last) {
			leader, last = replica, renewed
		}
	}
	return leader
}

// Close ends all, and removes its files.
func (w *World) Close() error {
	var err error
	if w.Replicas != nil {
		err = w.Replicas.Stop()
	}
	for _, proxy := range w.proxies {
		proxy.Close()
	}
	return errors.Join(err, w.Control.Stop(), os.RemoveAll(w.dir))
}

// Logs returns what all caject have logged, each log's end if it is long.
func (w *World) Logs() string {
	const most = 20_000
	files, err := filepath.Glob(filepath.Join(w.dir, "caject-*.log"))
	if err != nil {
		return err.Error()
	}
	text := ""
	for _, file := range files {
		log, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		text += fmt.Sprintf("--- %s\n%s\n", filepath.Base(file), log[max(0, len(log)-most):])
	}
	return text
}

// Quiet says what all caject may ask of the API server while nothing changes, by the arguments that they run with.
func (w *World) Quiet() (playground.Quiet, error) {
	q := playground.Quiet{Replicas: len(w.Replicas.All()), Standstills: w.standstills}
	for _, arg := range w.Installation.Args {
		if value, ok := strings.CutPrefix(arg, "--resync-interval="); ok {
			var err error
			if q.Interval, err = time.ParseDuration(value); err != nil {
				return q, err
			}
		}
		q.SecureMetrics = q.SecureMetrics || arg == "--metrics-authorization"
	}
	if q.Interval == 0 {
		return q, errors.New("the chart's arguments have no --resync-interval")
	}
	return q, nil
}

// standstills returns how often replicas have said that they stood still.
func (w *World) standstills() (n int) {
	for _, replica := range w.Replicas.All() {
		n += replica.Logged("Stood still")
	}
	return n
}

// Use is what all caject take together.
type Use struct {
	Goroutines int
	Memory     playground.Memory
}

// Use measures it.
func (w *World) Use(ctx context.Context) (Use, error) {
	var all Use
	for _, replica := range w.Replicas.All() {
		goroutines, err := playground.Goroutines(ctx, replica.MetricsPort)
		if err != nil {
			return Use{}, err
		}
		memory, err := replica.Memory()
		if err != nil {
			return Use{}, err
		}
		all.Goroutines += goroutines
		all.Memory.Anonymous += memory.Anonymous
		all.Memory.Resident += memory.Resident
	}
	return all, nil
}
