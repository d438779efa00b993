package node

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

// TestTheCommandsOfInstallMD runs what docs/install.md has people type, as it stands there: install and see that it works, upgrade, uninstall. What it
// says of hostNetwork is TestHostNetwork's.
func TestTheCommandsOfInstallMD(t *testing.T) {
	ctx := t.Context()
	page, err := os.ReadFile(filepath.Join(cluster.Root, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, block := range regexp.MustCompile("(?ms)^```\n(.*?)^```").FindAllStringSubmatch(string(page), -1) {
		if strings.HasPrefix(block[1], "helm ") {
			blocks = append(blocks, block[1])
		}
	}
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of commands, not 3", len(blocks))
	}
	programs := t.TempDir()
	if err := playground.BuildPlugin(ctx, cluster.Root, filepath.Join(programs, "kubectl-caject")); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Helm(ctx, "uninstall", "caject", "--namespace", playground.Namespace, "--wait", "--timeout", patience.String()); err != nil {
		t.Fatal(err)
	}
	// Where caject was installed before, policies wait for a new API server: see docs/how-it-works.md.
	if err := errors.Join(cluster.KillAPIServer(), cluster.StartAPIServer()); err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks {
		command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", block)
		command.Dir = cluster.Root
		command.Env = append(os.Environ(), "KUBECONFIG="+cluster.Kubeconfig,
			"PATH="+programs+":"+filepath.Join(cluster.Root, "bin")+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
		out, err := command.CombinedOutput()
		t.Logf("%s\n%s", block, out)
		if err != nil {
			t.Errorf("%s: %v", block, err)
		}
	}
	if err := errors.Join(cluster.upgrade(ctx), cluster.KillAPIServer(), cluster.StartAPIServer()); err != nil { // as it was found
		t.Fatal(err)
	}
	if err := cluster.right(ctx); err != nil {
		t.Error(err)
	}
}
