// Package chart tests what the chart renders from which values. It needs helm and no API server.
package chart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

func root(t *testing.T) string {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// helm runs helm, and returns what it prints, or an error with what it says.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr strings.Builder
	command := exec.CommandContext(t.Context(), filepath.Join(root(t), "bin", "helm"), args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}

// template renders the chart.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return templateOf(t, filepath.Join(root(t), "charts", "caject"), args...)
}

func templateOf(t *testing.T, chart string, args ...string) (string, error) {
	t.Helper()
	return helm(t, append([]string{"template", "release", chart, "--namespace", "ns", "--kube-version", "1.37"}, args...)...)
}

// valuesFile writes values, in YAML, and returns where.
func valuesFile(t *testing.T, values string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "caject-chart-") // t.TempDir has the test's name in it, and helm takes a comma for the end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// parentChart makes a chart that has caject as a dependency, with values of its own, and returns where.
func parentChart(t *testing.T, values string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "parent")
	if err := os.CopyFS(filepath.Join(dir, "charts", "caject"), os.DirFS(filepath.Join(root(t), "charts", "caject"))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"Chart.yaml": "apiVersion: v2\nname: parent\nversion: 1.0.0\n", "values.yaml": values} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
