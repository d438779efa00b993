package trial

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/caject/caject/test/playground"
)

// Start starts one more caject.
func (w *World) Start() (*playground.Replica, error) {
	if !w.proxied {
		return w.Replicas.Start(w.Program, w.dir)
	}
	proxy, err := NewProxy(w.Control.Entrance())
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	kubeconfig := filepath.Join(w.dir, fmt.Sprintf("proxy-%d.kubeconfig", w.started))
	w.started++
	if err := proxy.Kubeconfig(w.Installation.Kubeconfig, kubeconfig); err != nil {
		proxy.Close()
		return nil, err
	}
	replica, err := w.Replicas.Start(w.Program, w.dir, "--kubeconfig="+kubeconfig) // the last one counts
	if err != nil {
		proxy.Close()
		return nil, err
	}
	w.proxies[replica] = proxy
	return replica, nil
}

// Roll replaces each caject by one with the chart's present arguments, one after the other.
func (w *World) Roll(ctx context.Context) error {
	for _, old := range w.Replicas.All() {
		replica, err := w.Start()
		if err != nil {
			return err
		}
		if err := errors.Join(replica.WaitReady(ctx), w.Replicas.StopGently(old)); err != nil {
			return err
		}
	}
	return nil
}

// Restart starts a caject in the place of one that has been killed.
func (w *World) Restart(killed *playground.Replica) error {
	w.Replicas.Forget(killed)
	w.mu.Lock()
	if proxy := w.proxies[killed]; proxy != nil {
		delete(w.proxies, killed)
		proxy.Close()
	}
	w.mu.Unlock()
	_, err := w.Start()
	return err
}
