package playground

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
)

// ModuleDir returns the folder of a Go module, path@version, that need not be one of those that this is built from.
func ModuleDir(ctx context.Context, module string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", module).Output()
	if err != nil {
		return "", fmt.Errorf("get %s: %w", module, err)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil {
		return "", fmt.Errorf("get %s: %w", module, err)
	}
	return found.Dir, nil
}
