package cluster

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/v1alpha1"
)

// Bundles reads and writes CABundles. The errors are those of the API machinery (apierrors.IsConflict and so on).
type Bundles struct {
	client client.Client
}

// NewBundles returns Bundles that works through c, which must not be backed by a cache.
func NewBundles(c client.Client) *Bundles {
	return &Bundles{client: client.WithFieldOwner(c, FieldManager)}
}

// Get reads the CABundle that has the given name, as it is stored now.
func (b *Bundles) Get(ctx context.Context, name string) (*v1alpha1.CABundle, error) {
	object := &v1alpha1.CABundle{}
	err := b.client.Get(ctx, client.ObjectKey{Name: name}, object)
	return object, err
}

// Create creates object without its status, and leaves in it what is stored then.
func (b *Bundles) Create(ctx context.Context, object *v1alpha1.CABundle) error {
	return b.client.Create(ctx, object)
}

// UpdateStatus writes the status of object, if it is still at its resourceVersion, and leaves in it what is stored then.
func (b *Bundles) UpdateStatus(ctx context.Context, object *v1alpha1.CABundle) error {
	return b.client.Status().Update(ctx, object)
}

// Delete deletes the CABundle that has the name of object and, if object has one, its UID.
func (b *Bundles) Delete(ctx context.Context, object *v1alpha1.CABundle) error {
	var options []client.DeleteOption
	if object.UID != "" {
		options = append(options, client.Preconditions{UID: &object.UID})
	}
	return b.client.Delete(ctx, object, options...)
}
