package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle/shards"
)

// Shards reads and writes the PodTemplates of one namespace: it is a [shards.Client].
type Shards struct {
	client    client.Client
	namespace string
}

// NewShards returns the Shards of a namespace that works through c, which must not be backed by a cache.
func NewShards(c client.Client, namespace string) *Shards {
	return &Shards{client: client.WithFieldOwner(c, FieldManager), namespace: namespace}
}

// Identity returns the cluster's UID, and our ServiceAccount as the owner if it is in the namespace: with it the garbage collector removes
// the shards.
func (s *Shards) Identity(ctx context.Context) (identity shards.Identity, err error) {
	system := &corev1.Namespace{}
	switch err := s.client.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, system); {
	case err == nil:
		identity.Cluster = string(system.UID)
	case apierrors.IsForbidden(err):
		log.FromContext(ctx).Info("The namespace kube-system may not be read: shards out of the backup of another cluster are not told from our own")
	default:
		return shards.Identity{}, fmt.Errorf("read the namespace %s: %w", metav1.NamespaceSystem, err)
	}
	if identity.Owner, err = Account(ctx, s.client, s.namespace); err != nil {
		return shards.Identity{}, err
	}
	return identity, nil
}

// Get reads the PodTemplate that has the given name, as it is stored now.
func (s *Shards) Get(ctx context.Context, name string) (*corev1.PodTemplate, error) {
	object := &corev1.PodTemplate{}
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, object)
	return object, err
}

// Create creates object, and leaves in it what is stored then.
func (s *Shards) Create(ctx context.Context, object *corev1.PodTemplate) error {
	return s.client.Create(ctx, object)
}

// Update writes object, if it is still at its resourceVersion, and leaves in it what is stored then.
func (s *Shards) Update(ctx context.Context, object *corev1.PodTemplate) error {
	return s.client.Update(ctx, object)
}

// Delete deletes object, if it is still at its resourceVersion.
func (s *Shards) Delete(ctx context.Context, object *corev1.PodTemplate) error {
	return s.client.Delete(ctx, object, client.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion})
}
