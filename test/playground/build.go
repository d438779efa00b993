package playground

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// BuildCaject builds caject into the file path. The flags, such as -race, are those of go build.
func BuildCaject(ctx context.Context, root, path string, flags ...string) error {
	return build(ctx, root, path, "./cmd/caject", flags...)
}

// BuildPlugin builds kubectl caject into the file path.
func BuildPlugin(ctx context.Context, root, path string, flags ...string) error {
	return build(ctx, root, path, "./cmd/kubectl-caject", flags...)
}

// BuildCainjector builds the program that runs the controllers of cert-manager's cainjector into the file path.
func BuildCainjector(ctx context.Context, root, path string) error {
	return build(ctx, filepath.Join(root, "test", "oracle"), path, "./cainjector")
}

// build builds one package of the module in dir.
func build(ctx context.Context, dir, path, pkg string, flags ...string) error {
	command := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", path}, flags...), pkg)...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", filepath.Base(path), err, out)
	}
	return nil
}
