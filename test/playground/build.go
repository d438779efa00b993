package playground

import (
	"context"
	"fmt"
	"os/exec"
)

// BuildCaject builds caject into the file path. The flags, such as -race, are those of go build.
func BuildCaject(ctx context.Context, root, path string, flags ...string) error {
	build := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", path}, flags...), "./cmd/caject")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build caject: %w\n%s", err, out)
	}
	return nil
}
