// Package trialtest has what test packages need to begin with a world of package trial.
package trialtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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

// Number returns the number, from 1, that the environment has under name, or otherwise.
func Number(name string, otherwise int) (int, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is %q, not a number from 1", name, text)
	}
	return n, nil
}

// NewWorld starts a world of o.Replicas replicas, whose --resync-interval is interval.
func NewWorld(ctx context.Context, interval time.Duration, o trial.Options) (*trial.World, error) {
	o.Values = append([]string{fmt.Sprintf("replicaCount=%d", o.Replicas), "resyncInterval=" + interval.String()}, o.Values...)
	return trial.NewWorld(ctx, o)
}

// World is NewWorld for one test: it ends with it. If the test has failed by then, World logs what the replicas have logged.
func World(t *testing.T, interval time.Duration, o trial.Options) *trial.World {
	t.Helper()
	world, err := NewWorld(t.Context(), interval, o)
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
