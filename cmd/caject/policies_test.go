package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestPoliciesThatAreThereAreSuggested has the API server answer one thing after the other.
func TestPoliciesThatAreThereAreSuggested(t *testing.T) {
	type answer struct {
		served bool
		err    error
	}
	none, some, away := answer{}, answer{served: true}, answer{err: errors.New("it starts")}
	for sentence, test := range map[string]struct {
		answers []answer
		said    int
		unused  []bool
		wait    time.Duration // until it is asked again
	}{
		"none":                                  {[]answer{none, none}, 0, []bool{false, false}, policiesInterval},
		"from the start":                        {[]answer{some}, 1, []bool{true}, policiesInterval},
		"they appear, and that is said once":    {[]answer{none, some, some}, 1, []bool{false, true, true}, policiesInterval},
		"no answer says nothing, and is no end": {[]answer{some, away, some}, 1, []bool{true, true}, policiesInterval},
		"it is asked again soon":                {[]answer{none, away}, 0, []bool{false}, policiesRetry},
		"taken back, and there again":           {[]answer{some, none, some}, 2, []bool{true, false, true}, policiesInterval},
	} {
		t.Run(sentence, func(t *testing.T) {
			var log strings.Builder
			var unused []bool
			next := 0
			s := &suggestion{
				served: func() (bool, error) {
					a := test.answers[next]
					next++
					return a.served, a.err
				},
				unused: func(is bool) { unused = append(unused, is) },
				log:    funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{}),
			}
			var wait time.Duration
			for range test.answers {
				wait = s.look()
			}
			if said := strings.Count(log.String(), "helm upgrade"); said != test.said {
				t.Errorf("said %d times:\n%s", said, log.String())
			}
			if diff := cmp.Diff(test.unused, unused); diff != "" {
				t.Error(diff)
			}
			if wait != test.wait {
				t.Errorf("it is asked again after %s", wait)
			}
		})
	}
}

// TestItIsAskedAgain is about when.
func TestItIsAskedAgain(t *testing.T) {
	clk, back, asked := clocktesting.NewFakeClock(time.Now()), make(chan struct{}, 1), make(chan struct{})
	s := &suggestion{
		served: func() (bool, error) { asked <- struct{}{}; return false, nil },
		back:   back, unused: func(bool) {}, clock: clk,
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Start(ctx) }()
	<-asked // at start
	back <- struct{}{}
	<-asked
	for !clk.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	clk.Step(policiesInterval)
	<-asked
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
