// Package field plays what people report of injectors, on a real API server, through kubectl and helm as they do. A test is named
// after the symptom; its comment has the public report's number.
package field

import (
	"context"
	"errors"
	"fmt"
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

// field is a cluster in which things happen, and what looks on.
type field struct {
	*trial.World
	census *trial.Census
	// policies says whether the API server itself fills, by caject's policies.
	policies bool
}

// optionsOf returns what a cluster is made from, with policies or without; values are set in the chart. It has FIELD_REPLICAS caject, or 2.
func optionsOf(policies bool, values ...string) (trial.Options, error) {
	n, err := trialtest.Number("FIELD_REPLICAS", 2)
	return trial.Options{Program: program, Replicas: n, Values: append([]string{fmt.Sprintf("policy.enabled=%t", policies)}, values...)}, err
}

// watched has a census look at world until ctx ends.
func watched(ctx context.Context, world *trial.World, policies bool) *field {
	f := &field{World: world, census: trial.NewCensus(world.Client), policies: policies}
	go f.census.Run(ctx)
	return f
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
		o.field, o.err = o.start(ctx)
	}
	return o.field, o.err
}

func (o *once) start(ctx context.Context) (*field, error) {
	options, err := optionsOf(o.policies)
	if err != nil {
		return nil, err
	}
	world, err := trialtest.NewWorld(ctx, interval, options)
	if err != nil {
		return nil, err
	}
	return watched(ctx, world, o.policies), nil
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
	options, err := optionsOf(policies, values...)
	if err != nil {
		t.Fatal(err)
	}
	return watched(t.Context(), trialtest.World(t, interval, options), policies)
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
