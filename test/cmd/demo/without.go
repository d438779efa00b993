package main

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// reset is freeze for an API server that evaluates no policies: the next version of a manifest is stored with its placeholder, and caject,
// which must be running, fills that.
func (d *demo) reset(ctx context.Context) error {
	d.chapter("An upgrade resets the caBundles to the placeholder Cg==. This API server has no policies that would fill them (Kubernetes before 1.36):")
	for _, target := range d.targets[2:] {
		if err := d.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
			return err
		}
		playground.SetCABundles(target, []byte("\n"))
		if err := d.client.Update(ctx, target); err != nil {
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
