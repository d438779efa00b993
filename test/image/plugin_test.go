package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// isInstalledByKrew has krew install the plugin from the release's manifest and archive, and runs what it has installed.
func isInstalledByKrew(t *testing.T, dist string) {
	krew, err := filepath.Abs(filepath.Join(root, "bin", "krew"))
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	run := func(program string, args ...string) string {
		command := exec.CommandContext(t.Context(), program, args...)
		command.Env = append(os.Environ(), "KREW_ROOT="+home, "HOME="+home, "KREW_NO_UPGRADE_CHECK=1")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	archive := filepath.Join(dist, "kubectl-caject-v1.2.3-"+runtime.GOOS+"-"+runtime.GOARCH+".tar.gz")
	run(krew, "install", "--manifest="+filepath.Join(dist, "kubectl-caject-v1.2.3-krew.yaml"), "--archive="+archive)
	if _, err := os.Stat(filepath.Join(home, "receipts", "caject.yaml")); err != nil {
		t.Error(err)
	}
	if got := run(filepath.Join(home, "bin", "kubectl-caject"), "--version"); !strings.Contains(got, "v1.2.3") {
		t.Errorf("it is version %s", got)
	}
}
