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

// TestTheImageHasNothingOfThePlugin: what kubectl caject needs is not linked into caject.
func TestTheImageHasNothingOfThePlugin(t *testing.T) {
	packages := func(command string) string {
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/"+command)
		list.Dir = root
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	image, plugin := packages("caject"), packages(pluginName)
	for _, one := range []string{"k8s.io/cli-runtime/", "k8s.io/client-go/tools/portforward", "github.com/gorilla/websocket"} {
		if strings.Contains(image, one) {
			t.Errorf("caject is linked with %s", one)
		}
		if !strings.Contains(plugin, one) {
			t.Errorf("the plugin is not linked with %s: this test tries nothing", one)
		}
	}
}
