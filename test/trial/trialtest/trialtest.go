// Package trialtest has what test packages need to begin with a world of package trial.
package trialtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// Main is a TestMain: it builds caject with the race detector, says in program where, runs the tests, then after, and ends the process.
func Main(m *testing.M, program *string, after ...func() error) {
	code, err := run(m, program, after)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, program *string, after []func() error) (code int, err error) {
	root, err := playground.Root()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "caject-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	*program = filepath.Join(dir, "caject")
	if err := playground.BuildCaject(context.Background(), root, *program, "-race"); err != nil {
		return 1, err
	}
	code = m.Run()
	var errs []error
	for _, f := range after {
		errs = append(errs, f())
	}
	return code, errors.Join(errs...)
}

// World starts a world of o.Replicas replicas, whose --resync-interval is interval, and ends it with the test. If the test has failed by
// then, it logs what they have logged.
func World(t *testing.T, interval time.Duration, o trial.Options) *trial.World {
	t.Helper()
	o.Values = append([]string{fmt.Sprintf("replicaCount=%d", o.Replicas), "resyncInterval=" + interval.String()}, o.Values...)
	world, err := trial.NewWorld(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(world.Logs())
		}
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	return world
}
