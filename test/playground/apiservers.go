package playground

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// APIServers are several kube-apiservers on one etcd, as in a control plane that is highly available. They share keys and
// certificates: a token or client certificate is valid at each. What one of them has stored, the others learn of a little later, and
// each evaluates admission policies and calls webhooks for itself. A balancer before them takes connections to each in turn.
type APIServers struct {
	address  string // of all, without a port
	balancer *balancer
	serving  sync.WaitGroup

	mu   sync.Mutex
	all  []*APIServer
	turn int
}

// APIServer is one of several.
type APIServer struct {
	// Config is the admin's, at this API server, without the balancer.
	Config *rest.Config
	// Kubeconfig is a file with the same in it.
	Kubeconfig string

	plane   *ControlPlane
	road    *road    // from the balancer
	etcd    *road    // to etcd; nil for the first one
	command []string // the command line; empty for the first one, which the control plane starts
	log     string
	process *Process  // nil for the first one
	link    *balancer // which carries etcd
	out     bool      // the balancer takes nobody there; guarded by the mu of all
	set     *APIServers
}

// AddAPIServers starts n more API servers, and a balancer before all. Kubeconfigs that are written from then on lead to the balancer; the
// admin's own leads to the first API server, as before. Their files are kubeconfig-1, kube-apiserver-1.log and so on.
func (c *ControlPlane) AddAPIServers(n int) (*APIServers, error) {
	s := &APIServers{address: c.env.ControlPlane.GetAPIServer().SecureServing.Address}
	s.balancer = &balancer{route: s.route, tries: n + 1}
	if err := s.balancer.listenAt(net.JoinHostPort(s.address, "0")); err != nil {
		return nil, err
	}
	c.servers = s
	s.serving.Go(s.balancer.serve)
	s.all = []*APIServer{{Config: c.Config, Kubeconfig: c.Kubeconfig, plane: c, set: s, road: newRoad()}}
	for range n {
		server, err := s.next(c)
		if err != nil {
			return nil, err
		}
		if err := server.Start(context.Background()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// next prepares one more API server like the first one.
func (s *APIServers) next(c *ControlPlane) (*APIServer, error) {
	n, etcd := len(s.all), c.env.ControlPlane.Etcd.URL
	server := &APIServer{
		Config: rest.CopyConfig(c.Config), Kubeconfig: filepath.Join(c.Dir, fmt.Sprintf("kubeconfig-%d", n)),
		plane: c, set: s, road: newRoad(), etcd: newRoad(), log: filepath.Join(c.Dir, fmt.Sprintf("kube-apiserver-%d.log", n)),
	}
	s.mu.Lock()
	s.all = append(s.all, server)
	s.mu.Unlock()
	server.link = &balancer{tries: 1, route: func() (string, *road) { return etcd.Host, server.etcd }}
	var port int
	if err := errors.Join(FreePorts(&port), server.link.listenAt(net.JoinHostPort(s.address, "0"))); err != nil {
		return nil, err
	}
	s.serving.Go(server.link.serve)
	server.Config.Host = "https://" + net.JoinHostPort(s.address, strconv.Itoa(port))
	if err := RedirectKubeconfig(c.Kubeconfig, server.Kubeconfig, server.Config.Host, c.Config.CAData); err != nil {
		return nil, err
	}
	files := c.env.ControlPlane.GetAPIServer().CertDir
	first, err := commandOf("--cert-dir=" + files)
	if err != nil {
		return nil, err
	}
	server.command = withArguments(first, map[string]string{
		"--secure-port":          strconv.Itoa(port),
		"--cert-dir":             filepath.Join(c.Dir, fmt.Sprintf("apiserver-%d", n)), // it is not used
		"--tls-cert-file":        filepath.Join(files, "apiserver.crt"),
		"--tls-private-key-file": filepath.Join(files, "apiserver.key"),
		"--etcd-servers":         "http://" + server.link.listener.Addr().String(),
		// All are at the same address, and would dispute the endpoints of the Service kubernetes.
		"--endpoint-reconciler-type": "none",
	})
	return server, nil
}

// withArguments returns a copy of command in which flags have other values.
func withArguments(command []string, flags map[string]string) []string {
	var changed []string
	for _, argument := range command {
		flag, _, _ := strings.Cut(argument, "=")
		if _, ok := flags[flag]; !ok {
			changed = append(changed, argument)
		}
	}
	for flag, value := range flags {
		changed = append(changed, flag+"="+value)
	}
	return changed
}

// All returns them, the control plane's own first.
func (s *APIServers) All() []*APIServer { return s.all }

// Host is the balancer's URL.
func (s *APIServers) Host() string { return "https://" + s.balancer.listener.Addr().String() }

// route returns the address of the API server whose turn it is.
func (s *APIServers) route() (string, *road) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range s.all {
		s.turn++
		if server := s.all[s.turn%len(s.all)]; !server.out {
			return strings.TrimSuffix(strings.TrimPrefix(server.Config.Host, "https://"), "/"), server.road
		}
	}
	return "", nil
}

// stop ends all but the first API server, and the balancer.
func (s *APIServers) stop() error {
	err := s.balancer.close()
	for _, server := range s.all {
		server.road.set(Refused, true)
		if server.process != nil {
			err = errors.Join(err, server.Kill())
		}
		if server.link != nil {
			server.etcd.set(Refused, true)
			err = errors.Join(err, server.link.close())
		}
	}
	s.serving.Wait()
	return err
}

// SetWay sets how the balancer gets there from now on. If connections are Refused, those of before are cut; else they go the new way, too.
func (s *APIServer) SetWay(w Way) { s.road.set(w, w == Refused) }

// SetLag has etcd's answers and events arrive so much later: each request takes longer, and all that it knows without a request, such as the
// webhook configurations and what admission policies read, is of so long ago. It is not for the first API server.
func (s *APIServer) SetLag(d time.Duration) { s.etcd.setLag(d) }

// TakeOut has the balancer notice that the API server is not to be used: connections are cut, and new ones go to the others.
func (s *APIServer) TakeOut() {
	s.set.mu.Lock()
	s.out = true
	s.set.mu.Unlock()
	s.road.set(Open, true)
}

// PutBack has the balancer use it again.
func (s *APIServer) PutBack() {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	s.out = false
}

// Gather has the balancer take out all others until one has n connections at least.
func (s *APIServers) Gather(ctx context.Context, one *APIServer, n int) error {
	for _, server := range s.all {
		if server != one {
			server.TakeOut()
			defer server.PutBack()
		}
	}
	return Eventually(ctx, time.Minute, 20*time.Millisecond, func(context.Context) error {
		if there := one.road.connections(); there < n {
			return fmt.Errorf("%d connections to %s, not %d", there, one.Config.Host, n)
		}
		return nil
	})
}

// Pid returns its process's number. It is not for the first API server.
func (s *APIServer) Pid() int { return s.process.Pid() }

// Start starts it after Kill, at the same address, and returns once it is ready.
func (s *APIServer) Start(ctx context.Context) error {
	if s.command == nil {
		return s.plane.StartAPIServer()
	}
	var err error
	if s.process, err = StartProcess(s.command, 0, s.log); err != nil {
		return err
	}
	transport, err := rest.TransportFor(s.Config)
	if err != nil {
		return err
	}
	return Eventually(ctx, time.Minute, 50*time.Millisecond, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.Config.Host, "/")+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return fmt.Errorf("kube-apiserver is not ready (its log is %s): %w", s.log, err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("kube-apiserver is not ready (its log is %s): %s", s.log, response.Status)
		}
		return nil
	})
}

// Kill ends it as a power cut would.
func (s *APIServer) Kill() error {
	if s.command == nil {
		return s.plane.KillAPIServer()
	}
	if err := s.process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = s.process.Wait() // it says that it was killed
	return nil
}

// Freeze stops its process where it is: it answers nothing, its caches fall behind, and its connections stay.
func (s *APIServer) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw has it go on.
func (s *APIServer) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *APIServer) signal(signal syscall.Signal) error {
	if s.command != nil {
		return s.process.Signal(signal)
	}
	pid, err := findProcess("--cert-dir=" + s.plane.env.ControlPlane.GetAPIServer().CertDir)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, signal)
}
