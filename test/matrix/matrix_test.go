// Package matrix tries each kind of target in each position among the targets of its source, with each kind of reset, whatever has
// become of the source, with policies and without, on the real API server: one object for each cell. In each state no field is without a
// certificate where one was known before, no certificate is lost that is still in use, nothing foreign gets in, and nothing but
// caBundle changes. In the end all are silent.
//
// What else may happen to what caject publishes, in a cluster with two API servers and to certificates in time, is tried beside it.
//
// MATRIX_POLICIES says which worlds there are ("on off"), MATRIX_ONLY which cells (a regular expression for their sentences), and
// MATRIX_SPAN for how long nothing changes in the end.
package matrix

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

const (
	// patience is how long anything may take; no test is about time.
	patience = time.Minute
	// interval is the replicas' --resync-interval.
	interval = 5 * time.Second
	// calm is for how long nothing is written before the quiet span begins, and restless how long that may take to come.
	calm, restless = 2 * interval, time.Minute
	// otherSource is one that targets are switched to.
	otherSource = "other"
	// foreign stands for the digit of a certificate that a target is not to hold.
	foreign = '!'
)

// binary is caject, built with the race detector.
var binary string

func TestMain(m *testing.M) { trialtest.Main(m, &binary) }

func TestMatrix(t *testing.T) {
	t.Parallel()
	only, err := regexp.Compile(os.Getenv("MATRIX_ONLY"))
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(cmp.Or(os.Getenv("MATRIX_POLICIES"), "on off")) {
		t.Run("policies "+word, func(t *testing.T) {
			t.Parallel()
			s := &stage{policies: word == "on", only: only, ctx: t.Context(), digits: map[string]mark{}, pems: map[mark][]byte{}}
			s.world = newWorld(t, 2, fmt.Sprintf("policy.enabled=%t", s.policies))
			s.observer = newObserver(s.world.Client, s.digit)
			go s.observer.run(t.Context())
			s.run(t)
		})
	}
}

// run plays all cells and lets a quiet span follow.
func (s *stage) run(t *testing.T) {
	t.Helper()
	groups := s.groups()
	if err := s.makeOther(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var expired []error
	expiry := make(chan struct{})
	go func() {
		defer close(expiry)
		expired = s.expire(t.Context())
	}()
	each(t.Context(), groups, (*group).fill)
	filled := time.Since(began)
	each(t.Context(), groups, (*group).play)
	pauseFor(t.Context(), interval+interval/2) // and a round
	for _, g := range groups {
		for _, c := range g.cells[:last] {
			c.review()
		}
	}
	each(t.Context(), groups, (*group).end)
	<-expiry
	for _, err := range expired {
		t.Error(err)
	}
	played := time.Since(began)
	if err := s.unnamed(t.Context(), groups); err != nil {
		t.Error(err)
	}
	quiet, err := s.world.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if err := quiet.Settle(t.Context(), s.world.Control, calm, restless); err != nil {
		t.Fatal(err)
	}
	silence, err := quiet.Watch(t.Context(), s.world.Control, span(t))
	if err != nil {
		t.Error(err)
	}
	s.report(t, groups)
	t.Logf("%d cells %s, filled in %s and played in %s; then %s",
		len(groups)*len(positions), s, filled.Round(time.Second), (played - filled).Round(time.Second), silence)
}

// report fails a test for each change and reset that has a cell in which something was wrong.
func (s *stage) report(t *testing.T, groups []*group) {
	t.Helper()
	names := map[string][]*group{}
	for _, g := range groups {
		g.cells[last].review()
		name := g.change.name + ", " + g.reset.name
		names[name] = append(names[name], g)
	}
	for name, groups := range names {
		t.Run(name, func(t *testing.T) {
			for _, g := range groups {
				for _, c := range g.cells {
					for _, err := range c.faults() {
						t.Errorf("%s: %v", c, err)
					}
				}
			}
		})
	}
}

// span is how long nothing changes in the end.
func span(t *testing.T) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(cmp.Or(os.Getenv("MATRIX_SPAN"), "15s"))
	if err != nil || d < interval {
		t.Fatalf("MATRIX_SPAN is %q, not a duration from %s", os.Getenv("MATRIX_SPAN"), interval)
	}
	return d
}

// room is for the worlds that there are at a time: each takes a core.
var room = make(chan struct{}, max(2, goruntime.NumCPU()))

// newWorld starts a control plane with the chart and n replicas, once there is room for it.
func newWorld(t *testing.T, n int, values ...string) *trial.World {
	t.Helper()
	return newWorldOf(t, trial.Options{Replicas: n, Values: values})
}

func newWorldOf(t *testing.T, o trial.Options) *trial.World {
	t.Helper()
	room <- struct{}{}
	t.Cleanup(func() { <-room }) // when the world has ended
	o.Program = binary
	return trialtest.World(t, interval, o)
}

// toUnstructured returns object as the API server is sent it.
func toUnstructured(object client.Object, kind schema.GroupVersionKind) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		panic(err) // it is one of the four kinds
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(kind)
	return u
}
