package resync

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/v1alpha1"
)

// bundles are the CABundles as they are stored. The errors are those of the API machinery.
type bundles interface {
	Get(ctx context.Context, name string) (*v1alpha1.CABundle, error)
	// Create, Update and UpdateStatus leave in the object what is stored then.
	Create(context.Context, *v1alpha1.CABundle) error
	Update(context.Context, *v1alpha1.CABundle) error
	UpdateStatus(context.Context, *v1alpha1.CABundle) error
	// Delete deletes the object that has the name and, if it has one, the UID.
	Delete(context.Context, *v1alpha1.CABundle) error
}

// bundleClient is bundles, of an API server.
type bundleClient struct {
	client client.Client // not backed by a cache
}

func (b bundleClient) Get(ctx context.Context, name string) (*v1alpha1.CABundle, error) {
	object := &v1alpha1.CABundle{}
	err := b.client.Get(ctx, client.ObjectKey{Name: name}, object)
	return object, err
}

func (b bundleClient) Create(ctx context.Context, object *v1alpha1.CABundle) error {
	return b.client.Create(ctx, object)
}

func (b bundleClient) Update(ctx context.Context, object *v1alpha1.CABundle) error {
	return b.client.Update(ctx, object)
}

func (b bundleClient) UpdateStatus(ctx context.Context, object *v1alpha1.CABundle) error {
	return b.client.Status().Update(ctx, object)
}

func (b bundleClient) Delete(ctx context.Context, object *v1alpha1.CABundle) error {
	var options []client.DeleteOption
	if object.UID != "" {
		options = append(options, client.Preconditions{UID: &object.UID})
	}
	return b.client.Delete(ctx, object, options...)
}
