package e2e

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/kubernetes"

	"github.com/caject/caject/test/playground"
)

// TestPlainManifestsAreApplied applies what make manifests renders, twice, by both ways of kubectl.
func TestPlainManifestsAreApplied(t *testing.T) {
	t.Parallel()
	ctx, i := t.Context(), bare(t)
	control, manifests := i.control, i.manifests(t)
	for _, way := range [][]string{{"apply", "-f", manifests}, {"apply", "--server-side", "--force-conflicts", "-f", manifests}} {
		first, err := control.Kubectl(ctx, "", way...)
		if err != nil || strings.Contains(first.Stderr, "Warning") {
			t.Fatalf("%v, %s", err, first.Stderr)
		}
		// The API server itself still writes the status of some.
		eventually(t, "nothing changes if it is applied again", func(ctx context.Context) error {
			before := versionsOf(t, control, manifests)
			if _, err := control.Kubectl(ctx, "", way...); err != nil {
				return err
			}
			if diff := cmp.Diff(before, versionsOf(t, control, manifests)); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
	if out, err := control.Kubectl(ctx, "", "delete", "--wait=false", "-f", manifests); err != nil {
		t.Errorf("%v: %s", err, out.Stdout)
	}
}

// versionsOf returns the resourceVersions of all objects in a file that are there. (kubectl calls a policy configured that it has not changed: it leaves
// defaults in lists out of its comparison.)
func versionsOf(t *testing.T, control *playground.ControlPlane, manifests string) []string {
	t.Helper()
	out, err := control.Kubectl(t.Context(), "", "get", "-f", manifests, "--ignore-not-found", "--output", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.Stdout), "\n")
	if len(lines) < 20 {
		t.Fatalf("%d objects", len(lines))
	}
	return lines
}

// manifests has make render the chart for the cluster's version into a file of the test's own.
func (i *installation) manifests(t *testing.T, settings ...string) (path string) {
	t.Helper()
	server, err := kubernetes.NewForConfigOrDie(i.control.Config).Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "caject.yaml")
	args := []string{"--silent", "manifests", "MANIFESTS=" + path, "KUBE_VERSION=" + strings.TrimPrefix(server.GitVersion, "v")}
	command := exec.CommandContext(t.Context(), "make", append(args, settings...)...)
	command.Dir = projectRoot(t)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}
