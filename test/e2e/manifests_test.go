package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/kubernetes"

	"github.com/caject/caject/test/playground"
)

// TestPlainManifestsAreApplied applies what make manifests renders, twice, by both ways of kubectl.
func TestPlainManifestsAreApplied(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	control, err := playground.StartControlPlane(projectRoot(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Stop(); err != nil {
			t.Error(err)
		}
	})
	server, err := kubernetes.NewForConfigOrDie(control.Config).Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	manifests := makeManifests(t, "KUBE_VERSION="+strings.TrimPrefix(server.GitVersion, "v"))
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

// TestKustomizeTakesPlainManifests: in another namespace, too, if they are made for it. See docs/gitops.md for what a namespace: of
// kustomize's own does.
func TestKustomizeTakesPlainManifests(t *testing.T) {
	t.Parallel()
	manifests := makeManifests(t, "NAMESPACE=security")
	folder := t.TempDir()
	content, err := os.ReadFile(manifests)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"caject.yaml": string(content), "kustomization.yaml": "resources: [caject.yaml]\ncommonAnnotations: {team: platform}\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := shared.control.Kubectl(t.Context(), "", "kustomize", folder)
	if err != nil {
		t.Fatal(err)
	}
	objects := regexp.MustCompile(`(?m)^kind: `)
	if got, want := len(objects.FindAllString(out.Stdout, -1)), len(objects.FindAllString(string(content), -1)); got != want || got < 20 {
		t.Errorf("%d objects of %d", got, want)
	}
	namespaces := map[string]int{}
	for _, found := range regexp.MustCompile(`(?m)^  namespace: (\S+)$`).FindAllStringSubmatch(out.Stdout, -1) {
		namespaces[found[1]]++
	}
	if namespaces["default"] != 2 || namespaces["security"] == 0 || len(namespaces) != 2 {
		t.Error(cmp.Diff(map[string]int{"default": 2}, namespaces))
	}
	for _, want := range []string{"--ca-secret=security/caject-ca", "--serving-names=caject.security.svc", "system:serviceaccount:security:caject'"} {
		if !strings.Contains(out.Stdout, want) {
			t.Errorf("%s is not in it", want)
		}
	}
}

// makeManifests has make render the chart into a file of the test's own.
func makeManifests(t *testing.T, settings ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "caject.yaml")
	command := exec.CommandContext(t.Context(), "make", append([]string{"--silent", "manifests", "MANIFESTS=" + path}, settings...)...)
	command.Dir = projectRoot(t)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}
