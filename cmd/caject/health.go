package main

import (
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// addHealthServer serves /livez, which asks whether the process hangs, and /readyz, unless address is 0. Each asks its checks
// in turn and says why if one fails. (The manager's own would log each failed probe, and keep the reason to itself.)
func addHealthServer(mgr manager.Manager, address string, live, ready []healthz.Checker) error {
	if address == "0" {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /livez", all(live))
	mux.Handle("GET /readyz", all(ready))
	return mgr.Add(&manager.Server{
		Name: "health",
		Server: &http.Server{
			Addr:              address,
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			MaxHeaderBytes:    16 << 10,
		},
	})
}

// all answers ok if no check fails, else why the first one does.
func all(checks []healthz.Checker) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, check := range checks {
			if err := check(r); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
}
