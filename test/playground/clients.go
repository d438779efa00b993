package playground

import (
	"context"
	"path/filepath"
)

// Client runs a program of bin/ as the admin, with input on its standard input: one of those that test/clients builds. The
// error holds what it printed.
func (c *ControlPlane) Client(ctx context.Context, input, program string, args ...string) (Output, error) {
	return run(ctx, input, c.program(program), append([]string{"-kubeconfig", c.Kubeconfig}, args...)...)
}

// Helm3 runs helm 3 as the admin. Its own files go to the control plane's folder.
func (c *ControlPlane) Helm3(ctx context.Context, args ...string) (Output, error) {
	return run(ctx, "", c.program("helm3"), c.helmArgs(args)...)
}

// helmArgs says where helm, of either version, finds the API server and keeps its files.
func (c *ControlPlane) helmArgs(args []string) []string {
	return append([]string{
		"--kubeconfig", c.Kubeconfig,
		"--repository-cache", filepath.Join(c.Dir, "helm"),
		"--repository-config", filepath.Join(c.Dir, "helm", "repositories.yaml"),
		"--registry-config", filepath.Join(c.Dir, "helm", "registry.json"),
	}, args...)
}
