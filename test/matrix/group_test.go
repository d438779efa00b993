package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// group is a source and its three targets.
type group struct {
	stage  *stage
	change *change
	reset  *reset
	first  int    // the kind of the first target
	name   string // of its Secret, and of its targets in part
	cells  []*cell
}

// fresh reports whether the source that targets are switched to was named by nobody before. Every second group has one of its own.
func (g *group) fresh() bool { return g.first%2 == 1 }

func (g *group) key() client.ObjectKey {
	return client.ObjectKey{Namespace: trial.Namespace, Name: g.name}
}

// otherKey is that of the source that targets are switched to.
func (g *group) otherKey() client.ObjectKey {
	if g.fresh() {
		return client.ObjectKey{Namespace: trial.Namespace, Name: g.name + "-other"}
	}
	return client.ObjectKey{Namespace: trial.Namespace, Name: otherSource}
}

// fill makes source and targets, and rotates the source once: a target holds 0 and 1 then. A copy of each that holds 0 is kept.
func (g *group) fill(ctx context.Context) error {
	s := g.stage
	if err := s.world.Client.Create(ctx, playground.NewSecret(g.key().Namespace, g.name, s.certificate(g.name, '0'))); err != nil {
		return err
	}
	if g.change.annotate != nil && g.fresh() {
		if err := s.world.Client.Create(ctx, playground.NewSecret(g.otherKey().Namespace, g.otherKey().Name, s.certificate(g.name, '4'))); err != nil {
			return err
		}
	}
	for i, c := range g.cells {
		answer, err := c.create(ctx, playground.FromSecret(trial.Namespace, g.name))
		if err != nil {
			return err
		}
		if i == 0 {
			if err := errors.Join(c.wait(ctx, expectation{must: "0"}), g.published(ctx, metav1.ConditionTrue, "")); err != nil {
				return err
			}
		} else if c.kept() {
			c.check("in the answer to its create", answer, expectation{must: "0"})
		}
	}
	for _, c := range g.cells {
		if err := c.wait(ctx, expectation{must: "0"}); err != nil {
			return err
		}
		c.backup = g.stage.observer.state(c.object).DeepCopy()
	}
	if err := g.rotate(ctx, '1'); err != nil {
		return err
	}
	for _, c := range g.cells {
		if err := c.wait(ctx, expectation{must: "01"}); err != nil {
			return err
		}
	}
	return nil
}

// play has the source change, and the first targets be reset. What is wrong then is noted in their cells.
func (g *group) play(ctx context.Context) error {
	if g.change.source != nil {
		if err := g.change.source(g); err != nil {
			return err
		}
	}
	for _, c := range g.cells[:last] {
		c.play(ctx)
	}
	return nil
}

// end deletes all targets but the last one, and then resets that.
func (g *group) end(ctx context.Context) error {
	for _, c := range g.cells[:last] {
		if err := c.remove(ctx); err != nil {
			return err
		}
	}
	g.cells[last].play(ctx)
	return nil
}

// rotate has the source hold another certificate.
func (g *group) rotate(ctx context.Context, digit rune) error {
	ca := g.stage.certificate(g.name, digit)
	return g.changeSecret(ctx, func(s *corev1.Secret) { s.Data["ca.crt"] = ca })
}

func (g *group) changeSecret(ctx context.Context, change func(*corev1.Secret)) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret := &corev1.Secret{}
		if err := g.stage.world.Client.Get(ctx, g.key(), secret); err != nil {
			return err
		}
		change(secret)
		return g.stage.world.Client.Update(ctx, secret)
	})
}

// rotateOnce rotates the source, and waits for nothing.
func (g *group) rotateOnce() error { return g.rotate(g.stage.ctx, '2') }

// removeSecret deletes the source.
func (g *group) removeSecret() error {
	return g.stage.world.Client.Delete(g.stage.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: g.key().Namespace, Name: g.name}})
}

// withdraw takes the opt-in away, and returns once that is known.
func (g *group) withdraw() error {
	if err := g.changeSecret(g.stage.ctx, func(s *corev1.Secret) { s.Annotations = nil }); err != nil {
		return err
	}
	return g.published(g.stage.ctx, metav1.ConditionFalse, string(cabundle.SourceNotAllowed))
}

// unnamed waits until no CABundle is left of the sources that no target names any more: that they go is not quiet.
func (s *stage) unnamed(ctx context.Context, groups []*group) error {
	named := map[string]bool{}
	for _, g := range groups {
		if g.cells[last].object == nil {
			continue // what is wrong is noted
		}
		if ref, ok, problem := cabundle.ReferenceOf(g.cells[last].object.GetAnnotations()); ok && problem == nil {
			named[ref.PublishedName()] = true
		}
	}
	return eventually(ctx, 2*patience, func(ctx context.Context) error {
		var all v1alpha1.CABundleList
		if err := s.world.Client.List(ctx, &all); err != nil {
			return err
		}
		for _, object := range all.Items {
			if strings.Contains(object.Name, "."+trial.Namespace+".m") && !named[object.Name] {
				return fmt.Errorf("CABundle %s is there, and no target names its source", object.Name)
			}
		}
		return nil
	})
}

// published waits until the CABundle of the source says of itself what is given.
func (g *group) published(ctx context.Context, status metav1.ConditionStatus, reason string) error {
	name := "secret." + g.key().Namespace + "." + g.name
	return g.stage.eventually(ctx, func(ctx context.Context) error {
		object := &v1alpha1.CABundle{}
		if err := g.stage.world.Client.Get(ctx, client.ObjectKey{Name: name}, object); err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(object.Status.Conditions, "Ready")
		if ready == nil || ready.Status != status || reason != "" && ready.Reason != reason {
			return fmt.Errorf("the condition of CABundle %s is %+v", name, ready)
		}
		return nil
	})
}

// noteAll notes err in all cells of a group.
func (g *group) noteAll(err error) {
	for _, c := range g.cells {
		c.note(err)
	}
}

// each runs what for each group, some of them at a time, and notes its error in the cells.
func each(ctx context.Context, groups []*group, what func(*group, context.Context) error) {
	const atOnce = 24
	turn := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, g := range groups {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			if g.broken() {
				return
			}
			if err := what(g, ctx); err != nil {
				g.noteAll(err)
			}
		})
	}
	all.Wait()
}

// broken reports whether so much is wrong that what follows would say nothing.
func (g *group) broken() bool {
	return !slices.ContainsFunc(g.cells, func(c *cell) bool { return len(c.faults()) == 0 })
}

// misspell takes the slash out of the annotation's value.
func (c *cell) misspell(annotations map[string]string) {
	name := annotations[cabundle.InjectCAFromSecretAnnotation]
	annotations[cabundle.InjectCAFromSecretAnnotation] = strings.ReplaceAll(name, "/", "")
}

// switchSource has the annotation name another source.
func (c *cell) switchSource(annotations map[string]string) {
	annotations[cabundle.InjectCAFromSecretAnnotation] = c.group.otherKey().String()
}

// remove deletes the target, and returns once it is gone.
func (c *cell) remove(ctx context.Context) error {
	api := c.group.stage.world.Client
	if err := api.Delete(ctx, c.object.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return c.group.stage.eventually(ctx, func(ctx context.Context) error {
		object := c.object.DeepCopy()
		if err := api.Get(ctx, client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%s is deleted, and still there: %v (%w)", key(object), object.Object["status"], err)
		}
		return nil
	})
}
