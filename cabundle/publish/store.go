package publish

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// Stored is what is stored of one source. The zero value is nothing.
type Stored struct {
	// History is what the replicas share.
	History cabundle.History
	// Published is what policies read.
	Published cabundle.Published
	// Labels say which policies read it.
	Labels map[string]bool

	object *v1alpha1.CABundle // nil if nothing is stored
}

// Store keeps what the replicas of caject share of each source, and what policies read. The errors are those of the API
// machinery.
type Store interface {
	// Get returns what is stored of ref now.
	Get(context.Context, cabundle.Reference) (Stored, error)
	// Put stores wanted in place of before, and returns what is stored then. If something else is stored by now, the error is a Conflict.
	Put(ctx context.Context, ref cabundle.Reference, before, wanted Stored) (Stored, error)
	// Delete removes what is stored of ref, if it is still before.
	Delete(ctx context.Context, ref cabundle.Reference, before Stored) error
	// Show stores what people look at, and returns what is stored then.
	Show(ctx context.Context, before Stored, status v1alpha1.CABundleStatus) (Stored, error)
}

// bundles are the CABundles of a cluster.
type bundles interface {
	Get(ctx context.Context, name string) (*v1alpha1.CABundle, error)
	Create(context.Context, *v1alpha1.CABundle) error
	Update(context.Context, *v1alpha1.CABundle) error
	UpdateStatus(context.Context, *v1alpha1.CABundle) error
	Delete(context.Context, *v1alpha1.CABundle) error
}

// bundleStore is a Store that keeps everything in the CABundle of the source.
type bundleStore struct{ bundles bundles }

// NewStore returns a Store that keeps everything in the CABundle of the source.
func NewStore(b bundles) Store { return bundleStore{b} }

// Get implements [Store].
func (s bundleStore) Get(ctx context.Context, ref cabundle.Reference) (Stored, error) {
	object, err := s.bundles.Get(ctx, ref.PublishedName())
	switch {
	case apierrors.IsNotFound(err):
		return Stored{}, nil
	case err != nil:
		return Stored{}, err
	}
	return storedOf(object), nil
}

// Put implements [Store].
func (s bundleStore) Put(ctx context.Context, ref cabundle.Reference, before, wanted Stored) (Stored, error) {
	if before.object == nil {
		object := objectOf(ref, &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: ref.PublishedName()}}, wanted)
		return storedOf(object), s.bundles.Create(ctx, object)
	}
	if before.object.Spec.Source != ref.String() { // it cannot be changed
		if err := s.bundles.Delete(ctx, before.object); err != nil {
			return Stored{}, err
		}
		return s.Put(ctx, ref, Stored{}, wanted)
	}
	object := objectOf(ref, before.object.DeepCopy(), wanted)
	if equality.Semantic.DeepEqual(object, before.object) {
		return before, nil
	}
	err := s.bundles.Update(ctx, object)
	return storedOf(object), err
}

// Delete implements [Store].
func (s bundleStore) Delete(ctx context.Context, ref cabundle.Reference, before Stored) error {
	object := before.object
	if object == nil {
		object = &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: ref.PublishedName()}}
	}
	if err := s.bundles.Delete(ctx, object); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// Show implements [Store].
func (s bundleStore) Show(ctx context.Context, before Stored, status v1alpha1.CABundleStatus) (Stored, error) {
	if equality.Semantic.DeepEqual(before.object.Status, status) {
		return before, nil
	}
	object := before.object.DeepCopy()
	object.Status = status
	err := s.bundles.UpdateStatus(ctx, object)
	return storedOf(object), err
}

// labels are all that policies select by.
var labels = [...]string{v1alpha1.WebhookTargetsLabel, v1alpha1.OtherTargetsLabel, v1alpha1.NotReadyLabel}

// storedOf reads a CABundle.
func storedOf(object *v1alpha1.CABundle) Stored {
	stored := Stored{
		Published: cabundle.Published{CABundle: object.Spec.CABundle, Replaces: object.Spec.Replaces},
		Labels:    map[string]bool{},
		object:    object,
	}
	for _, label := range labels {
		if object.Labels[label] == "true" {
			stored.Labels[label] = true
		}
	}
	// What cannot be read counts as nothing: the replicas know it, or begin anew.
	_ = json.Unmarshal([]byte(object.Spec.History), &stored.History)
	stored.History = stored.History.Fill(stored.Published.Bundle())
	return stored
}

// objectOf writes wanted into object.
func objectOf(ref cabundle.Reference, object *v1alpha1.CABundle, wanted Stored) *v1alpha1.CABundle {
	history, _ := json.Marshal(wanted.History) // it cannot fail
	object.Spec = v1alpha1.CABundleSpec{
		Source: ref.String(), CABundle: wanted.Published.CABundle, Replaces: wanted.Published.Replaces, History: string(history),
	}
	for _, label := range labels {
		if wanted.Labels[label] {
			metav1.SetMetaDataLabel(&object.ObjectMeta, label, "true")
		} else {
			delete(object.Labels, label)
		}
	}
	return object
}
