package resync

import (
	"context"

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
