package certs

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

// store keeps the CA in one Secret, which caject's role names: it can get, update and apply that one and no other.
type store struct {
	client secrets
	name   types.NamespacedName
	events record.EventRecorder
	clock  *ServerClock
}

// secrets is what a store needs of a client, which is not backed by a cache.
type secrets interface {
	Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error
	Create(context.Context, client.Object, ...client.CreateOption) error
	Update(context.Context, client.Object, ...client.UpdateOption) error
	Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error
}

// ensure returns the CA that the Secret holds, and takes the steps that are due first, by r. Of several replicas that write at
// once one wins, and the others read what it wrote.
//
// If a step fails, or must wait for the clocks to agree, although the stored CA is usable, ensure returns both the CA and the
// error; with any other error it returns nil.
func (s *store) ensure(ctx context.Context, r rotation, v view) (*authority, error) {
	const tries = 10 // several steps can be due at once
	for range tries {
		secret, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		now := s.clock.Now() // after the answer, which tells how the clocks stand
		found := parseContent(now, secret).distrustedBy(v.held)
		if err := s.clock.check(); err != nil {
			return found.authority, err
		}
		wanted, step, err := r.plan(now, found, v)
		if err != nil || step == nothing {
			return wanted, err
		}
		if err := wanted.write(secret); err != nil {
			return found.authority, err
		}
		// It carries the resourceVersion that was read.
		err = s.client.Update(ctx, secret, client.FieldOwner(cluster.FieldManager))
		switch {
		case err == nil:
			s.say(ctx, secret, step, found.wrong)
			v.held = wanted
		case !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			return found.authority, fmt.Errorf("update Secret %s: %w", s.name, err)
		}
	}
	return nil, fmt.Errorf("update Secret %s: others changed it %d times in a row", s.name, tries)
}

// say says by log line and Event what was done.
func (s *store) say(ctx context.Context, secret *corev1.Secret, step step, wrong error) {
	logger := log.FromContext(ctx).WithValues("secret", s.name)
	warn := func(text string) {
		logger.Info(text, "reason", wrong.Error())
		s.events.Event(secret, corev1.EventTypeWarning, "CA"+string(step), fmt.Sprintf("%s (it held no good one: %v)", text, wrong))
	}
	note := func(text string) {
		logger.Info(text)
		s.events.Event(secret, corev1.EventTypeNormal, "CA"+string(step), text)
	}
	switch step {
	case create:
		note("Made a CA for caject's own certificates")
	case restore:
		warn("Restored the CA of caject's own certificates")
	case replace:
		warn("Replaced the CA of caject's own certificates")
	case adopt:
		note("Another CA was put there; the one before stays trusted while certificates of it may be served")
	case renew:
		note("Made the next CA, as " + renewAnnotation + " asks; it signs once all API servers trust it")
	case withdraw:
		note("The CAs of before are not trusted any more, as " + renewAnnotation + " has asked; " + cabundle.DistrustAnnotation + " names them")
	case prepare:
		note("Made the next CA; it signs once all API servers trust it")
	case promote:
		note("The next CA signs from now on")
	case drop:
		note("A former CA is not trusted any more: no certificate of it can be valid, or it is named in " + cabundle.DistrustAnnotation)
	}
}

// read returns the Secret, and makes it without data if it is not there.
func (s *store) read(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := s.client.Get(ctx, s.name, secret)
	if apierrors.IsNotFound(err) {
		if err := s.create(ctx); err != nil {
			return nil, fmt.Errorf("create Secret %s: %w", s.name, err)
		}
		err = s.client.Get(ctx, s.name, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", s.name, err)
	}
	return secret, nil
}

// create makes the Secret without data. Who deleted it may be uninstalling caject, in whatever order: so our ServiceAccount owns it, and it
// does not stay behind.
func (s *store) create(ctx context.Context) error {
	owner, err := cluster.Account(ctx, s.client, s.name.Namespace)
	if err != nil {
		return err
	}
	// A role can name a Secret for apply, but not for create. Applying it without data harms nobody who
	// was faster: the data of an existing Secret stays.
	empty := &unstructured.Unstructured{}
	empty.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	empty.SetNamespace(s.name.Namespace)
	empty.SetName(s.name.Name)
	empty.SetAnnotations(map[string]string{cabundle.AllowDirectInjectionAnnotation: "true"})
	if owner != nil {
		empty.SetOwnerReferences([]metav1.OwnerReference{*owner})
	}
	empty.Object["type"] = string(corev1.SecretTypeOpaque)
	err = s.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(empty), client.FieldOwner(cluster.FieldManager), client.ForceOwnership)
	if apierrors.IsForbidden(err) {
		// A role of cert-manager's chart allows to create any, but not to apply.
		return client.IgnoreAlreadyExists(s.client.Create(ctx, empty, client.FieldOwner(cluster.FieldManager)))
	}
	return err
}
