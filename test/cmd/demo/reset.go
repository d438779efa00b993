package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// freeze stops caject, and does what an upgrade does whose manifest carries a placeholder.
func (d *demo) freeze(ctx context.Context) error {
	switch policies, err := playground.ServesPolicies(d.control.Config); {
	case err != nil:
		return err
	case !policies:
		return d.reset(ctx)
	}
	d.chapter("caject is frozen (SIGSTOP), and an upgrade resets the caBundles to the placeholder Cg==:")
	if err := d.published(ctx); err != nil {
		return err
	}
	if err := d.caject.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { _ = d.caject.Signal(syscall.SIGCONT) }()
	d.last = time.Now()
	for _, target := range d.targets[2:] {
		if err := d.blank(ctx, target); err != nil {
			return err
		}
		if !filled(target, d.ca) {
			return fmt.Errorf("the API server's answer for %s does not hold both CAs", name(target))
		}
		d.line(name(target) + ": both CAs are in the API server's answer; an admission policy has filled them in")
	}
	return nil
}

// reset is freeze for an API server that evaluates no policies: the next version of a manifest is stored with its placeholder, and caject,
// which must be running, fills that.
func (d *demo) reset(ctx context.Context) error {
	d.chapter("An upgrade resets the caBundles to the placeholder Cg==. This API server has no policies that would fill them (Kubernetes before 1.36):")
	for _, target := range d.targets[2:] {
		if err := d.blank(ctx, target); err != nil {
			return err
		}
		stored := time.Now()
		d.line(name(target) + ": stored as it is")
		if err := d.await(ctx, target, d.ca); err != nil {
			return err
		}
		d.lineTook("  caject has put both CAs back (the time is since it was stored)", time.Since(stored))
	}
	return nil
}

// blank stores the placeholder in a target, as the next version of its manifest has it.
func (d *demo) blank(ctx context.Context, target client.Object) error {
	if err := d.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
		return err
	}
	playground.SetCABundles(target, []byte("\n"))
	return d.client.Update(ctx, target)
}
