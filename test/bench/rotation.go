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

// rotatedKinds are those, by index of [trial.Kinds], whose rotation is measured on its own: CRDs and ValidatingWebhookConfigurations.
var rotatedKinds = []int{0, 2}

// pause is between two rotations.
const pause = 1500 * time.Millisecond

// rotationKey is the row of one kind.
func (s *session) rotationKey(kind int) Key {
	return Key{fmt.Sprintf("%d targets of one kind rotated", s.Rotated), 0,
		"Secret written to the last " + kindNames[kind] + " (none: as many writes alone)", Milliseconds}
}

// rotations measures how long after a CA was rotated the last of some targets of one kind holds the new one. The source of each
// rotation is a new one: its targets go from one CA to two, as they do where the former one has left by the time of the next.
func (s *session) rotations(ctx context.Context) error {
	return s.eachRotated("%d rotations of %d %ss", func(kind int) error { return s.rotationsOf(ctx, kind) })
}

// eachRotated measures each kind of target that is rotated, as a step whose name has the numbers of rotations and targets, and the kind.
func (s *session) eachRotated(step string, measure func(kind int) error) error {
	for _, kind := range rotatedKinds {
		if err := s.progress.step(fmt.Sprintf(step, s.Rotations, s.Rotated, kindNames[kind]), func() error { return measure(kind) }); err != nil {
			return err
		}
	}
	return nil
}

// batch is the targets of one source.
type batch struct {
	source  string
	targets []client.Object
}

func (s *session) rotationsOf(ctx context.Context, kind int) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	var all []batch
	for range s.Rotations {
		b := batch{source: s.name("rotate")}
		ca, err := s.addSource(ctx, b.source)
		if err != nil {
			return err
		}
		b.targets = s.make(kind, playground.FromSecret(namespace, b.source))
		filled := s.lookout.expectAll(ca, b.targets...)
		if err := s.createAll(ctx, b.targets); err != nil {
			return err
		}
		if err := s.lookout.wait(ctx, filled); err != nil {
			return err
		}
		all = append(all, b)
	}
	if err := s.settle(ctx, 2*s.Settle); err != nil {
		return err
	}
	for _, b := range all {
		took, err := s.rotateBatch(ctx, b)
		if err != nil {
			return err
		}
		s.report.AddTimes(s.rotationKey(kind), s.subject(), took)
	}
	for _, b := range all {
		if err := s.remove(ctx, b.targets...); err != nil {
			return err
		}
	}
	return s.settle(ctx, s.Settle)
}

// make makes as many targets of a kind as are rotated.
func (s *session) make(kind int, annotations map[string]string) []client.Object {
	targets := make([]client.Object, s.Rotated)
	for i := range targets {
		targets[i] = trial.Kinds[kind](s.name("r"), annotations)
	}
	return targets
}

func (s *session) createAll(ctx context.Context, targets []client.Object) error {
	return each(ctx, len(targets), clients, func(ctx context.Context, i int) error { return s.client.Create(ctx, targets[i]) })
}

func (s *session) rotateBatch(ctx context.Context, b batch) (time.Duration, error) {
	if err := errors.Join(playground.Sleep(ctx, pause), s.settle(ctx, s.Settle)); err != nil {
		return 0, err
	}
	ca := playground.NewCA("next")
	filled := s.lookout.expectAll(ca, b.targets...)
	began := time.Now()
	if err := s.rotate(ctx, b.source, ca); err != nil {
		return 0, err
	}
	if err := s.lookout.wait(ctx, filled); err != nil {
		return 0, err
	}
	return filled.last.Sub(began), nil
}

// floor measures what a rotation cannot be faster than: as many writes of caBundles, side by side, with nobody who decides on them.
func (s *session) floor(ctx context.Context) error {
	return s.eachRotated("%d times %d writes of %ss alone", func(kind int) error { return s.floorOf(ctx, kind) })
}

func (s *session) floorOf(ctx context.Context, kind int) error {
	targets := s.make(kind, nil)
	if err := errors.Join(s.createAll(ctx, targets), s.settle(ctx, 2*s.Settle)); err != nil {
		return err
	}
	for range s.Rotations {
		if err := errors.Join(playground.Sleep(ctx, pause), s.settle(ctx, s.Settle)); err != nil {
			return err
		}
		ca := playground.NewCA("next")
		began := time.Now()
		if err := each(ctx, len(targets), clients, func(ctx context.Context, i int) error {
			before := targets[i].DeepCopyObject().(client.Object)
			playground.SetCABundles(targets[i], ca)
			return s.client.Patch(ctx, targets[i], client.MergeFrom(before))
		}); err != nil {
			return err
		}
		s.report.AddTimes(s.rotationKey(kind), s.subject(), time.Since(began))
	}
	return errors.Join(s.remove(ctx, targets...), s.settle(ctx, s.Settle))
}
