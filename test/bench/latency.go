package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// kindNames are those of [trial.Kinds].
var kindNames = []string{"CRD", "APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}

// latencies measures creates of each kind, one after the other, without annotation and with it, of a source that another
// target names already.
func (s *session) latencies(ctx context.Context) error {
	return s.progress.step(fmt.Sprintf("%d creates of each kind (of CRDs: %d)", s.Creates, s.crds()), func() error {
		name := s.name("named")
		ca, err := s.addSource(ctx, name)
		if err != nil {
			return err
		}
		first := playground.NewMutating(name, 1, playground.FromSecret(namespace, name))
		filled := s.lookout.expectAll(ca, first)
		if err := s.client.Create(ctx, first); err != nil {
			return err
		}
		if err := errors.Join(s.lookout.wait(ctx, filled), sleep(ctx, time.Second)); err != nil {
			return err
		}
		for kind := range trial.Kinds {
			n := s.Creates
			if kind == 0 {
				n = s.crds()
			}
			for range n {
				if err := s.createPair(ctx, kind, name, ca); err != nil {
					return err
				}
			}
			if err := s.settle(ctx, s.Settle); err != nil {
				return err
			}
		}
		return s.remove(ctx, first)
	})
}

// crds is how many CRDs are created where there are Creates of each other kind: the API server builds an API for each.
func (s *session) crds() int { return (s.Creates + 4) / 5 }

// createPair creates one object without annotation, then one with it.
func (s *session) createPair(ctx context.Context, kind int, source string, ca []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	group := "One " + kindNames[kind] + " created"
	plain := trial.Kinds[kind](s.name("p"), nil)
	began := time.Now()
	if err := s.client.Create(ctx, plain); err != nil {
		return err
	}
	s.report.AddTimes(Key{group, 0, "not annotated: the request", Milliseconds}, s.subject(), time.Since(began))
	filled := trial.Kinds[kind](s.name("f"), playground.FromSecret(namespace, source))
	if err := s.createOne(ctx, group, "annotated", filled, ca); err != nil {
		return err
	}
	return s.remove(ctx, plain, filled)
}

// createOne creates a target, and takes down how long the request takes, how long it is until it is filled, and whether it is in
// the answer.
func (s *session) createOne(ctx context.Context, group, what string, target client.Object, ca []byte) error {
	seen := s.lookout.expectAll(ca, target)
	began := time.Now()
	if err := s.client.Create(ctx, target); err != nil {
		return err
	}
	answered := time.Since(began)
	inAnswer := holds(target, ca)
	if err := s.lookout.wait(ctx, seen); err != nil {
		return err
	}
	whole := answered
	if !inAnswer {
		whole = seen.last.Sub(began)
	}
	s.report.AddTimes(Key{group, 0, what + ": the request", Milliseconds}, s.subject(), answered)
	s.report.AddTimes(Key{group, 0, what + ": the request until it is filled", Milliseconds}, s.subject(), whole)
	s.report.Add(Key{group, 0, what + ": filled in the answer", Percent}, s.subject(), share([]bool{inAnswer}))
	return nil
}

// firsts measures creates of webhook configurations whose sources nobody has named before; they were made some seconds earlier.
func (s *session) firsts(ctx context.Context) error {
	return s.progress.step(fmt.Sprintf("%d first targets of new sources", s.Creates/2), func() error {
		ctx, cancel := context.WithTimeout(ctx, s.Patience)
		defer cancel()
		names, cas := make([]string, s.Creates/2), make([][]byte, s.Creates/2)
		for i := range names {
			names[i] = s.name("first")
			var err error
			if cas[i], err = s.addSource(ctx, names[i]); err != nil {
				return err
			}
		}
		if err := errors.Join(s.settle(ctx, s.Settle), sleep(ctx, 2*time.Second)); err != nil {
			return err
		}
		for i, name := range names {
			target := playground.NewValidating(name, 1, playground.FromSecret(namespace, name))
			if err := s.createOne(ctx, "One ValidatingWebhookConfiguration created, the first to name its source", "annotated", target, cas[i]); err != nil {
				return err
			}
			if err := s.remove(ctx, target); err != nil {
				return err
			}
		}
		return nil
	})
}
