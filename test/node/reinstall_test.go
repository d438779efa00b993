package node

import (
	"context"
	"errors"
	"testing"

	"github.com/caject/caject/test/playground"
)

// TestUninstalledAndInstalledAgain takes caject away and brings it back at once, while its old pods still end: nothing that targets hold is
// lost, and once the new pods are ready each call is filled.
func TestUninstalledAndInstalledAgain(t *testing.T) {
	ctx := t.Context()
	if err := cluster.upgrade(ctx, "policy.enabled=false"); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.during(ctx, 0, func(ctx context.Context) error {
		_, err := cluster.Helm(ctx, "uninstall", "caject", "--namespace", playground.Namespace)
		if err != nil {
			return err
		}
		return errors.Join(cluster.rotate(ctx), cluster.upgrade(ctx, "policy.enabled=false"))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d calls were not filled meanwhile", c.unfilled, c.made)
	if len(c.errs) > 0 {
		t.Errorf("calls failed: %v", errors.Join(c.errs...))
	}
	if err := cluster.right(ctx); err != nil {
		t.Error(err)
	}
	if _, err := cluster.census.Result(); err != nil {
		t.Error(err)
	}
	c, err = cluster.during(ctx, quietSpan/4, func(ctx context.Context) error { return cluster.rotate(ctx) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.failed(); err != nil {
		t.Error(err)
	}
	if err := cluster.right(ctx); err != nil {
		t.Error(err)
	}
	if err := cluster.upgrade(ctx); err != nil {
		t.Fatal(err)
	}
	cluster.quiet(t)
}
