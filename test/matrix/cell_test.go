package matrix

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// cell is one target, and what becomes of it.
type cell struct {
	group    *group
	position int // an index of positions
	kind     int // of trial.Kinds

	object *unstructured.Unstructured // as the test has last written it, and the API server answered
	backup *unstructured.Unstructured // as it was when it held 0 alone

	mu   sync.Mutex
	errs []error
}

// note keeps the first errors.
func (c *cell) note(err error) {
	const most = 4
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) < most {
		c.errs = append(c.errs, err)
	}
}

func (c *cell) faults() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errs
}

// manifest is what a target is created from.
func (c *cell) manifest(annotations map[string]string) *unstructured.Unstructured {
	name := fmt.Sprintf("%sp%d", strings.ReplaceAll(c.group.name, "-", "x"), c.position)
	return toUnstructured(trial.Kinds[c.kind](name, annotations), cabundle.Kind(kindNames[c.kind]).GroupVersionKind())
}

// create creates the target, and returns the API server's answer.
func (c *cell) create(ctx context.Context, annotations map[string]string) (*unstructured.Unstructured, error) {
	object := c.manifest(annotations)
	c.group.stage.observer.expect(c, object)
	if err := c.group.stage.world.Client.Create(ctx, object); err != nil {
		return nil, err
	}
	c.object = object
	return object, nil
}

// play has happen to the target what the cell says, and waits until it holds what it is to.
func (c *cell) play(ctx context.Context) {
	if err := c.happen(ctx); err != nil {
		c.note(err)
		return
	}
	if err := c.wait(ctx, c.want()); err != nil {
		c.note(err)
	}
}

func (c *cell) happen(ctx context.Context) error {
	if c.group.reset.recreated {
		return c.recreate(ctx)
	}
	return c.rewrite(ctx)
}

// recreate deletes the target, and creates it from its manifest.
func (c *cell) recreate(ctx context.Context) error {
	if err := c.remove(ctx); err != nil {
		return err
	}
	annotations := playground.FromSecret(trial.Namespace, c.group.name)
	if c.group.change.annotate != nil {
		c.group.change.annotate(c, annotations)
	}
	answer, err := c.create(ctx, annotations)
	if err != nil {
		return err
	}
	// What another replica learns of in the same moment, and a source that nobody named, are filled in a moment later.
	if c.group.change.annotate == nil && c.kept() {
		want := c.want()
		c.check("in the answer to its create", answer, expectation{must: strings.ReplaceAll(want.must, "2", ""), may: want.may + "2"})
	}
	return nil
}

// rewrite updates the target as the reset says.
func (c *cell) rewrite(ctx context.Context) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		object := c.object.DeepCopy()
		if err := c.group.stage.world.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		if c.group.reset.restored {
			current := object.GetResourceVersion()
			object = c.backup.DeepCopy()
			object.SetResourceVersion(current)
			object.SetManagedFields(nil)
		} else {
			for _, field := range fieldsOf(object) {
				if delete(field, "caBundle"); c.group.reset.value != nil {
					field["caBundle"] = *c.group.reset.value
				}
			}
		}
		if c.group.change.annotate != nil {
			annotations := maps.Clone(object.GetAnnotations())
			c.group.change.annotate(c, annotations)
			object.SetAnnotations(annotations)
		}
		if err := c.group.stage.world.Client.Update(ctx, object); err != nil {
			return err
		}
		c.object = object
		return nil
	})
}

// check notes what object, an answer of the API server's, holds besides what is wanted.
func (c *cell) check(when string, object *unstructured.Unstructured, want expectation) {
	if err := c.holds(object, want); err != nil {
		c.note(fmt.Errorf("%s: %w", when, err))
	}
}

// holds returns an error unless each caBundle of object is as wanted.
func (c *cell) holds(object *unstructured.Unstructured, want expectation) error {
	for i, field := range fieldsOf(object) {
		if held := c.group.stage.observer.held(c, field); !want.met(held) {
			return fmt.Errorf("caBundle %d holds [%s], not %s: %.80q", i, held, want, raw(field))
		}
	}
	return nil
}

// wait returns once the target holds what is wanted.
func (c *cell) wait(ctx context.Context, want expectation) error {
	return c.group.stage.eventually(ctx, func(context.Context) error { return c.is(want) })
}

// is returns an error unless the target is there and holds what is wanted.
func (c *cell) is(want expectation) error {
	now := c.group.stage.observer.state(c.object)
	if now == nil || version(now) < version(c.object) {
		return errors.New("its latest state was not seen")
	}
	return c.holds(now, want)
}

// review notes what is wrong with the target once nothing changes any more.
func (c *cell) review() {
	if len(c.faults()) > 0 {
		return // what follows would only be why
	}
	if err := c.is(c.want()); err != nil {
		c.note(fmt.Errorf("later: %w", err))
		return
	}
	now := c.group.stage.observer.state(c.object)
	for _, entry := range now.GetManagedFields() {
		if strings.HasPrefix(entry.Manager, "caject") {
			c.note(fmt.Errorf("%s owns %s", entry.Manager, entry.FieldsV1.GetRawString()))
		}
	}
	if diff := cmp.Diff(stripped(c.object), stripped(now)); diff != "" {
		c.note(fmt.Errorf("something else than caBundle has changed (-before +after):\n%s", diff))
	}
}

// stripped returns object without what caject may change, and without what the API server does of itself.
func stripped(object *unstructured.Unstructured) map[string]any {
	object = object.DeepCopy()
	for _, field := range fieldsOf(object) {
		delete(field, "caBundle")
	}
	for _, path := range [][]string{
		{"status"}, {"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"metadata", "generation"},
	} {
		unstructured.RemoveNestedField(object.Object, path...)
	}
	return object.Object
}
