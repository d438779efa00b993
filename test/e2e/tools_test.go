package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tool is something that people apply manifests with.
type tool struct {
	// apply applies manifests; name is good for a release of its own.
	apply func(t *testing.T, name, manifests string) error
	// create is what comes before the first apply, with a tool that can only replace.
	create func(t *testing.T, name, manifests string) error
	// compare returns a line for each object that differs from manifests, in the tool's own eyes.
	compare func(t *testing.T, name, manifests string) ([]string, error)
}

// tools are those whose way with a caBundle is tested.
func tools(t *testing.T) map[string]tool {
	return map[string]tool{
		"kubectl apply":                  {apply: kubectl("apply")},
		"kubectl apply --server-side":    {apply: kubectl("apply", "--server-side")},
		"kubectl replace":                {apply: kubectl("replace"), create: kubectl("create")},
		"helm 4, server-side":            {apply: helm4("--server-side=true")},
		"helm 4, client-side":            {apply: helm4("--server-side=false")},
		"helm 3":                         {apply: helm3},
		"flux":                           {apply: fluxApply, compare: fluxDiff},
		"argo cd":                        {apply: clientSide.sync},
		"argo cd, ServerSideApply":       {apply: serverSide.sync},
		"argo cd, Replace":               {apply: replacing.sync},
		"argo cd, server-side diff":      {apply: onThePage(t, "ServerSideDiff").sync, compare: onThePage(t, "ServerSideDiff").compare},
		"argo cd, ignoring a difference": {apply: onThePage(t, "ignoreDifferences").sync, compare: onThePage(t, "ignoreDifferences").compare},
	}
}

func kubectl(args ...string) func(*testing.T, string, string) error {
	return func(t *testing.T, _, manifests string) error {
		output, err := shared.control.Kubectl(t.Context(), manifests, append(args, "-f", "-")...)
		if err == nil && strings.Contains(output.Stderr, "onflict") {
			err = fmt.Errorf("kubectl says %s", output.Stderr)
		}
		return err
	}
}

func helm4(args ...string) func(*testing.T, string, string) error {
	return func(t *testing.T, name, manifests string) error {
		_, err := shared.control.Helm(t.Context(), append(upgrade(t, name, manifests), args...)...)
		return err
	}
}

func helm3(t *testing.T, name, manifests string) error {
	_, err := shared.control.Helm3(t.Context(), upgrade(t, name, manifests)...)
	return err
}

// upgrade makes a chart of manifests and returns the arguments that install it, or upgrade to it.
func upgrade(t *testing.T, name, manifests string) []string {
	t.Helper()
	chart := t.TempDir()
	if err := os.Mkdir(filepath.Join(chart, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: " + name + "\nversion: 0.1.0\n", "templates/all.yaml": manifests,
	} {
		if err := os.WriteFile(filepath.Join(chart, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"upgrade", "--install", name, chart, "--namespace", namespace}
}

func fluxApply(t *testing.T, _, manifests string) error {
	_, err := shared.control.Client(t.Context(), manifests, "flux", "apply")
	return err
}

// fluxDiff is Flux's drift detection.
func fluxDiff(t *testing.T, _, manifests string) ([]string, error) {
	output, err := shared.control.Client(t.Context(), manifests, "flux", "diff")
	return linesWithout(output.Stdout, " unchanged"), err
}

// linesWithout returns the lines that do not end with suffix.
func linesWithout(text, suffix string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasSuffix(line, suffix) {
			lines = append(lines, line)
		}
	}
	return lines
}
