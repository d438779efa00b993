// Package field plays what people report of injectors, on a real API server, through kubectl and helm as they do. A test is named
// after the symptom; its comment has the public report's number.
package field

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

const (
	// timeout is generous: no test is about time, but where it says so.
	timeout = 30 * time.Second
	// interval is the resync's: what is right sooner was pushed, admitted or filled by a policy.
	interval = 30 * time.Second
)

// program is caject, built with the race detector.
var program string

func TestMain(m *testing.M) { trialtest.Main(m, &program, closeShared) }

// replicas is how many caject each world has: FIELD_REPLICAS, or 2.
func replicas() (int, error) {
	text, ok := os.LookupEnv("FIELD_REPLICAS")
	if !ok {
		return 2, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("FIELD_REPLICAS is %q, not a number from 1", text)
	}
	return n, nil
}

// field is a cluster in which things happen, and what looks on.
type field struct {
	*trial.World
	census *trial.Census
	// policies says whether the API server itself fills, by caject's policies.
	policies bool
}

// start starts a cluster with policies or without; values are set in the chart.
func start(ctx context.Context, policies bool, values ...string) (*field, error) {
	n, err := replicas()
	if err != nil {
		return nil, err
	}
	values = append([]string{fmt.Sprintf("replicaCount=%d", n), "resyncInterval=" + interval.String(), "policy.enabled=" + onOff(policies)}, values...)
	world, err := trial.NewWorld(ctx, trial.Options{Program: program, Replicas: n, Values: values})
	if err != nil {
		return nil, err
	}
	f := &field{World: world, census: trial.NewCensus(world.Client), policies: policies}
	go f.census.Run(ctx)
	return f, nil
}

func onOff(on bool) string {
	if on {
		return "true"
	}
	return "false"
}

// shared has the clusters that most tests work with, at the same time: one with policies and one without.
var shared = map[bool]*once{true: {policies: true}, false: {}}

// once is a cluster that the first test starts that needs it.
type once struct {
	policies bool
	mu       sync.Mutex
	field    *field
	err      error
	stop     context.CancelFunc
}

func (o *once) get() (*field, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.field == nil && o.err == nil {
		var ctx context.Context
		ctx, o.stop = context.WithCancel(context.Background())
		o.field, o.err = start(ctx, o.policies)
	}
	return o.field, o.err
}

// closeShared ends the shared clusters. It returns an error if any state of any target there was wrong.
func closeShared() error {
	var errs []error
	for _, o := range shared {
		if o.field == nil {
			continue
		}
		_, err := o.field.census.Result()
		o.stop()
		errs = append(errs, err, o.field.Close())
	}
	return errors.Join(errs...)
}

// eachWay runs test on the shared clusters: with policies, and without.
func eachWay(t *testing.T, test func(*testing.T, *field)) {
	t.Helper()
	t.Parallel()
	for _, policies := range []bool{true, false} {
		t.Run("policies "+map[bool]string{true: "on", false: "off"}[policies], func(t *testing.T) {
			t.Parallel()
			f, err := shared[policies].get()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(f.Logs())
				}
			})
			test(t, f)
		})
	}
}

// own starts a cluster that a test has for itself.
func own(t *testing.T, policies bool, values ...string) *field {
	t.Helper()
	f, err := start(t.Context(), policies, values...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.Logs())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// kubectl runs kubectl with manifests as its input, and fails the test if it fails. It returns what kubectl has said.
func (f *field) kubectl(t *testing.T, manifests string, args ...string) playground.Output {
	t.Helper()
	output, err := f.Control.Kubectl(t.Context(), manifests, args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// create creates objects, and deletes them when the test ends.
func (f *field) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := f.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Client.Delete(context.WithoutCancel(t.Context()), object); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		})
	}
}

// eventually fails the test unless condition gets true.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	within(t, timeout, what, condition)
}

// within fails the test unless condition gets true within limit.
func within(t *testing.T, limit time.Duration, what string, condition func(context.Context) error) {
	t.Helper()
	if err := playground.Eventually(t.Context(), limit, 20*time.Millisecond, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
