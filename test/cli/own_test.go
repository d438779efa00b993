package main_test

import (
	"context"
	"path/filepath"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// world is a cluster that a test has for itself.
type world struct {
	*playground.ControlPlane
	chart   *playground.Installation // nil before the install
	client  client.WithWatch
	program string // caject
}

// own starts a cluster without caject.
func own(t *testing.T) *world {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{program: filepath.Join(t.TempDir(), "caject")}
	if err := playground.BuildCaject(t.Context(), root, w.program, "-race"); err != nil {
		t.Fatal(err)
	}
	if w.ControlPlane, err = playground.StartControlPlane(root, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.ControlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	if w.client, err = playground.NewClient(w.Config); err != nil {
		t.Fatal(err)
	}
	return w
}

// install installs the chart, with values (helm's --set).
func (w *world) install(t *testing.T, values ...string) {
	t.Helper()
	var err error
	if w.chart, err = playground.Install(t.Context(), w.ControlPlane, values...); err != nil {
		t.Fatal(err)
	}
}

// start runs caject until the test ends, if the test does not stop it before, and returns once it is ready.
func (w *world) start(t *testing.T) *playground.Process {
	t.Helper()
	process, err := w.chart.Start(w.program, filepath.Join(w.Dir, "caject.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(process.ReadLog())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := process.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return process
}

// create creates objects.
func (w *world) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := w.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}
