// Package health serves the probes of a kubelet: /livez, which asks whether the process hangs, and /readyz, which asks whether it
// can serve. Unlike the endpoints of controller-runtime's manager, they say in their answer why a check fails, and log nothing.
package health

import (
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Probes are the checks behind the two endpoints. They are asked in turn, up to the first that fails.
type Probes struct {
	Live, Ready []healthz.Checker
}

// Server returns a server of the probes at address (host:port), for a manager to run.
func (p *Probes) Server(address string) *manager.Server {
	return &manager.Server{
		Name: "health",
		Server: &http.Server{
			Addr:              address,
			Handler:           p.handler(),
			ReadHeaderTimeout: 5 * time.Second,
			MaxHeaderBytes:    16 << 10,
		},
	}
}

func (p *Probes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", all(p.Live))
	mux.Handle("GET /readyz", all(p.Ready))
	return mux
}

// IsReady reports what /readyz would say, for who asks from within the process.
func (p *Probes) IsReady() bool { return first(p.Ready, nil) == nil }

// all answers ok if no check fails, else 503 and why the first one does.
func all(checks []healthz.Checker) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := first(checks, r); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// first returns why the first check that fails does, or nil.
func first(checks []healthz.Checker, r *http.Request) error {
	for _, check := range checks {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}
