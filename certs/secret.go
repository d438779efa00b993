package certs

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/target"
)

// store keeps the CA in one Secret, which caject's role names: it can get, update and apply that one and no other.
type store struct {
	client client.Client // not backed by a cache
	name   types.NamespacedName
}

// ensure returns the CA that the Secret holds. If it holds none, or a damaged or expired one, or one that is due to be
// renewed, it puts one there first: held, the CA that this process used last, if that is still good and the Secret has
// none; else a new one. Of several replicas that do so at once one wins, and the others return what it wrote.
// A CA that is good, but could not be renewed, is returned with the error.
func (s *store) ensure(ctx context.Context, now time.Time, lifetime time.Duration, held *authority) (*authority, error) {
	const tries = 5
	for range tries {
		secret, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		current, found := parseAuthority(now, secret.Data)
		if found == nil && now.Before(renewAt(current.certificate, lifetime)) {
			return current, nil
		}
		next, err := s.successor(ctx, now, lifetime, held, secret, found)
		if err != nil {
			return current, err
		}
		if secret.Data, err = next.data(); err != nil {
			return current, err
		}
		// Without it, resync would refuse our own CA.
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, cabundle.AllowDirectInjectionAnnotation, "true")
		// The update carries the resourceVersion that was read.
		err = s.client.Update(ctx, secret, client.FieldOwner(target.FieldManager))
		if err == nil {
			return next, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return current, fmt.Errorf("update Secret %s: %w", s.name, err)
		}
	}
	return nil, fmt.Errorf("update Secret %s: others changed it %d times in a row", s.name, tries)
}

// successor returns what the Secret should hold instead of what was found in it (found is why that is not good, or
// nil if it is only due to be renewed).
func (s *store) successor(ctx context.Context, now time.Time, lifetime time.Duration, held *authority, secret *corev1.Secret, found error) (*authority, error) {
	logger := log.FromContext(ctx).WithValues("secret", s.name)
	if errors.Is(found, errNoAuthority) && held != nil && now.Before(renewAt(held.certificate, lifetime)) {
		logger.Info("Restoring the CA: the Secret was emptied or deleted")
		return held, nil
	}
	switch {
	case found == nil:
		logger.Info("Renewing the CA")
	case errors.Is(found, errNoAuthority):
		logger.Info("Making a CA")
	default:
		logger.Error(found, "Replacing the CA: the Secret does not hold a good one")
	}
	earlier := cabundle.ParseExisting(secret.Data[trustedKey])
	if held != nil {
		earlier = cabundle.Merge(now, earlier, held.trusted)
	}
	return newAuthority(now, lifetime, earlier)
}

// read returns the Secret, and makes it without data if it is not there.
func (s *store) read(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := s.client.Get(ctx, s.name, secret)
	if apierrors.IsNotFound(err) {
		// A role can name a Secret for apply, but not for create. Applying it without data harms nobody who
		// was faster: the data of an existing Secret stays.
		empty := &unstructured.Unstructured{}
		empty.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		empty.SetNamespace(s.name.Namespace)
		empty.SetName(s.name.Name)
		empty.SetAnnotations(map[string]string{cabundle.AllowDirectInjectionAnnotation: "true"})
		empty.Object["type"] = string(corev1.SecretTypeOpaque)
		err = s.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(empty), client.FieldOwner(target.FieldManager), client.ForceOwnership)
		if apierrors.IsForbidden(err) {
			// A role of cert-manager's chart allows to create any, but not to apply.
			err = client.IgnoreAlreadyExists(s.client.Create(ctx, empty, client.FieldOwner(target.FieldManager)))
		}
		if err != nil {
			return nil, fmt.Errorf("create Secret %s: %w", s.name, err)
		}
		err = s.client.Get(ctx, s.name, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", s.name, err)
	}
	return secret, nil
}
