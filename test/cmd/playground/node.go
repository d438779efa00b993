package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caject/caject/test/node"
	"github.com/caject/caject/test/playground"
)

// serveNode runs a node, with the chart as it is, until ctx ends.
func serveNode(ctx context.Context, root string, f files) (err error) {
	if err := node.Enter(); err != nil {
		return err
	}
	dir := f.path("node")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n, err := node.Start(ctx, root, dir, node.IPv4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.CutPower()) }()
	if err := n.Open(f.path("kubeconfig")); err != nil {
		return err
	}
	if err := n.Install(ctx); err != nil {
		return err
	}
	return f.serve(ctx, fmt.Sprintf(`A node is up, with caject as pods. What its programs log is in .run/node.

  export KUBECONFIG=%s
  kubectl is %s

  kubectl --namespace %s get pods
`, f.path("kubeconfig"), filepath.Join(root, "bin", "kubectl"), playground.Namespace))
}
