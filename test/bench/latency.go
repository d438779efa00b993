package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
		if err := errors.Join(s.lookout.wait(ctx, filled), playground.Sleep(ctx, time.Second)); err != nil {
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

const (
	// perNamespace is how many sources that nobody names yet are in one namespace, and apart is the time between two of them: a
	// team has a few, and caject publishes so many of them ahead, and so fast, only.
	perNamespace = 8
	apart        = 100 * time.Millisecond
)

// firsts measures creates of webhook configurations whose sources nobody has named before; they were made some seconds earlier.
func (s *session) firsts(ctx context.Context) error {
	return s.progress.step(fmt.Sprintf("%d first targets of new sources", s.Creates/2), func() error {
		ctx, cancel := context.WithTimeout(ctx, s.Patience)
		defer cancel()
		secrets, err := s.scattered(ctx, s.Creates/2)
		if err != nil {
			return err
		}
		if err := errors.Join(s.settle(ctx, s.Settle), playground.Sleep(ctx, 2*time.Second)); err != nil {
			return err
		}
		for _, secret := range secrets {
			target := playground.NewValidating(secret.Name, 1, playground.FromSecret(secret.Namespace, secret.Name))
			if err := s.createOne(ctx, "One ValidatingWebhookConfiguration created, the first to name its source", "annotated", target, secret.Data["ca.crt"]); err != nil {
				return err
			}
			if err := s.remove(ctx, target); err != nil {
				return err
			}
		}
		return nil
	})
}

// scattered makes n sources in several namespaces.
func (s *session) scattered(ctx context.Context, n int) ([]*corev1.Secret, error) {
	var secrets []*corev1.Secret
	namespace := ""
	for i := range n {
		name := s.name("first")
		if i%perNamespace == 0 {
			namespace = name
			if err := s.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
				return nil, err
			}
		}
		secret := playground.NewSecret(namespace, name, playground.NewCA(name))
		if err := errors.Join(s.client.Create(ctx, secret), playground.Sleep(ctx, apart)); err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}
