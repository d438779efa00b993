// Package shardstest has an API server for PodTemplates, in memory.
package shardstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/caject/caject/cabundle/shards"
)

var resource = schema.GroupResource{Resource: "podtemplates"}

// API keeps PodTemplates as an API server does. It is safe for concurrent use.
type API struct {
	mu       sync.Mutex
	identity shards.Identity
	objects  map[string]*corev1.PodTemplate
	version  int
	writes   int
	err      error
	before   func()
}

// New returns an API that keeps nothing yet, of a cluster that has the given UID.
func New(cluster string) *API {
	return &API{identity: shards.Identity{Cluster: cluster}, objects: map[string]*corev1.PodTemplate{}}
}

// Identity implements [shards.Client].
func (a *API) Identity(context.Context) (shards.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.identity, a.err
}

// Fail has each further write, and Identity, fail with err; nil ends that.
func (a *API) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// BeforeWrite has f called before each further write. It may write itself: then f is not called.
func (a *API) BeforeWrite(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before = f
}

// Writes returns how often something was written.
func (a *API) Writes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writes
}

// All returns copies of all objects, in the order of their names.
func (a *API) All() []*corev1.PodTemplate {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*corev1.PodTemplate
	for _, name := range slices.Sorted(maps.Keys(a.objects)) {
		all = append(all, a.objects[name].DeepCopy())
	}
	return all
}

// Get implements [shards.Client].
func (a *API) Get(_ context.Context, name string) (*corev1.PodTemplate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	object, ok := a.objects[name]
	if !ok {
		return nil, apierrors.NewNotFound(resource, name)
	}
	return object.DeepCopy(), nil
}

// write has change decide what object becomes; nil removes it.
func (a *API) write(name string, change func(there *corev1.PodTemplate) (*corev1.PodTemplate, error)) error {
	a.mu.Lock()
	before := a.before
	a.before = nil
	a.mu.Unlock()
	if before != nil {
		before()
		a.BeforeWrite(before)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	now, err := change(a.objects[name])
	if err != nil {
		return err
	}
	a.writes++
	if now == nil {
		delete(a.objects, name)
		return nil
	}
	a.version++
	now.ResourceVersion = fmt.Sprint(a.version)
	a.objects[name] = now.DeepCopy()
	return nil
}

// Create implements [shards.Client].
func (a *API) Create(_ context.Context, object *corev1.PodTemplate) error {
	return a.write(object.Name, func(there *corev1.PodTemplate) (*corev1.PodTemplate, error) {
		if there != nil {
			return nil, apierrors.NewAlreadyExists(resource, object.Name)
		}
		object.UID = types.UID(fmt.Sprint("uid-", a.version))
		return object, nil
	})
}

func guard(object, there *corev1.PodTemplate) error {
	switch {
	case there == nil:
		return apierrors.NewNotFound(resource, object.Name)
	case object.UID != there.UID || object.ResourceVersion != there.ResourceVersion:
		return apierrors.NewConflict(resource, object.Name, errors.New("changed"))
	}
	return nil
}

// Update implements [shards.Client].
func (a *API) Update(_ context.Context, object *corev1.PodTemplate) error {
	return a.write(object.Name, func(there *corev1.PodTemplate) (*corev1.PodTemplate, error) {
		return object, guard(object, there)
	})
}

// Delete implements [shards.Client].
func (a *API) Delete(_ context.Context, object *corev1.PodTemplate) error {
	return a.write(object.Name, func(there *corev1.PodTemplate) (*corev1.PodTemplate, error) {
		return nil, guard(object, there)
	})
}

// Edit changes an object without a guard, as an administrator can; it is made if it is not there.
func (a *API) Edit(name string, change func(*corev1.PodTemplate)) {
	_ = a.write(name, func(there *corev1.PodTemplate) (*corev1.PodTemplate, error) {
		if there == nil {
			there = &corev1.PodTemplate{}
			there.Name = name
		}
		there = there.DeepCopy()
		change(there)
		return there, nil
	})
}
