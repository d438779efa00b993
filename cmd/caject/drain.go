package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	crwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// drainTime is how long the server goes on after it was told to end. A server that ends closes connections that are idle, and
// may hit one on which the API server has just sent a request: that call fails. So each connection is first closed in order,
// with the next answer on it; a connection that is not used for so long is most likely not used later, either.
const drainTime = 2 * time.Second

// drainingServer is a Server of controller-runtime that ends without cutting off a call.
type drainingServer struct {
	crwebhook.Server
	draining atomic.Bool
}

// Start implements [manager.Runnable].
func (s *drainingServer) Start(ctx context.Context) error {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		s.draining.Store(true)
		time.AfterFunc(drainTime, end)
	})
	defer stop()
	return s.Server.Start(serving)
}

// Register serves handler at path.
func (s *drainingServer) Register(path string, handler http.Handler) {
	s.Server.Register(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close") // in HTTP/2, net/http makes a GOAWAY of it
		}
		handler.ServeHTTP(w, r)
	}))
}

// Ready returns an error once the server is about to end: a healthz.Checker.
func (s *drainingServer) Ready(*http.Request) error {
	if s.draining.Load() {
		return errors.New("caject is about to end")
	}
	return nil
}
