package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

const (
	// rotations is how often a CA is rotated, for each kind of target.
	rotations = 9
	// rotated is how many targets follow it.
	rotated = 40
	// quiet is how long nothing happens before: the API server works on CRDs for a while after they were written.
	quiet = 5 * time.Second
)

// rotations measures how long after a CA was rotated the last of many targets holds the new one. Each time the source and the
// targets are new: they go from one CA to two, as they do where the former one has left by the time of the next rotation.
func (b *bench) rotations(ctx context.Context, n int, injector string) error {
	for kind, make := range map[string]func(string, map[string]string) client.Object{
		"ValidatingWebhookConfigurations": func(name string, a map[string]string) client.Object { return playground.NewValidating(name, 1, a) },
		"CRDs":                            func(name string, a map[string]string) client.Object { return playground.NewCRD(name, a) },
	} {
		var took []time.Duration
		for range n {
			rotation, err := b.rotation(ctx, make)
			if err != nil {
				return err
			}
			took = append(took, rotation)
		}
		row(b.table, fmt.Sprintf("rotation: Secret updated to the last of %d %s, %s", rotated, kind, injector), took, milliseconds)
		if injector != "caject" {
			continue
		}
		if err := b.writes(ctx, n, kind, make); err != nil {
			return err
		}
	}
	return nil
}

// rotation rotates the CA of new targets once, and returns how long it took until the last of them held the new one.
func (b *bench) rotation(ctx context.Context, make func(string, map[string]string) client.Object) (time.Duration, error) {
	name := b.name("rotate")
	secret := playground.NewSecret(namespace, name, b.ca)
	if err := b.client.Create(ctx, secret); err != nil {
		return 0, err
	}
	var targets []client.Object
	for range rotated {
		target := make(b.name("rotated"), playground.FromSecret(namespace, name))
		if err := b.client.Create(ctx, target); err != nil {
			return 0, err
		}
		targets = append(targets, target)
	}
	before, err := b.watchFilled(ctx, targets, b.ca)
	if err != nil {
		return 0, err
	}
	if err := <-before; err != nil {
		return 0, err
	}
	time.Sleep(quiet)
	ca := playground.NewCA("next")
	filled, err := b.watchFilled(ctx, targets, ca)
	if err != nil {
		return 0, err
	}
	time.Sleep(200 * time.Millisecond) // for the watch to be there
	secret.Data["ca.crt"] = ca
	began := time.Now()
	if err := b.client.Update(ctx, secret); err != nil {
		return 0, err
	}
	if err := <-filled; err != nil {
		return 0, err
	}
	took := time.Since(began)
	for _, target := range targets {
		if err := b.client.Delete(ctx, target); err != nil {
			return 0, err
		}
	}
	return took, nil
}

// writes measures what a rotation cannot be faster than: as many writes of caBundles, side by side, with nobody who
// decides on them.
func (b *bench) writes(ctx context.Context, n int, kind string, make func(string, map[string]string) client.Object) error {
	var targets []client.Object
	for range rotated {
		target := make(b.name("written"), nil)
		if err := b.client.Create(ctx, target); err != nil {
			return err
		}
		targets = append(targets, target)
	}
	var took []time.Duration
	for range n {
		time.Sleep(quiet)
		ca := playground.NewCA("next")
		began := time.Now()
		var group errgroup.Group
		group.SetLimit(8)
		for _, target := range targets {
			group.Go(func() error {
				before := target.DeepCopyObject().(client.Object)
				playground.SetCABundles(target, ca)
				return b.client.Patch(ctx, target, client.MergeFrom(before))
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	row(b.table, fmt.Sprintf("the %d writes of such a rotation alone: %s", rotated, kind), took, milliseconds)
	for _, target := range targets {
		if err := b.client.Delete(ctx, target); err != nil {
			return err
		}
	}
	return nil
}
