package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

// TestSelftest runs what helm test runs, with the rights that the chart gives it. (In a pod: TestHelmTest in test/node.)
func TestSelftest(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	kinds, args := []string{"CustomResourceDefinition"}, []string{"template", playground.Namespace, filepath.Join(projectRoot(t), "charts", "caject"),
		"--namespace", playground.Namespace, "--show-only", "templates/tests/selftest.yaml", "--set", "targets.apiservices=false"}
	policies, err := playground.ServesPolicies(shared.control.Config)
	if err != nil {
		t.Fatal(err)
	}
	if policies {
		kinds = append(kinds, "MutatingWebhookConfiguration")
		args = append(args, "--kube-version", "1.37", "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
	}
	text, err := shared.control.Helm(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	objects := strings.Split(text.Stdout, "\n---\n")
	rights, pod := strings.Join(objects[:len(objects)-1], "\n---\n"), objects[len(objects)-1]
	if !strings.Contains(pod, "kind: Pod") || strings.Contains(rights, "kind: Pod") {
		t.Fatalf("the pod is not the last one:\n%s", text.Stdout)
	}
	if _, err := shared.control.Kubectl(ctx, rights, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := shared.control.Kubectl(context.WithoutCancel(ctx), rights, "delete", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := shared.control.WriteKubeconfig(ctx, playground.Namespace, "caject-selftest", kubeconfig); err != nil {
		t.Fatal(err)
	}
	selftest := func(kinds string) (string, error) {
		out, err := exec.CommandContext(ctx, binary, "selftest", "--kubeconfig", kubeconfig, "--timeout", "10s", "--kinds", kinds,
			"--source", "secret/"+playground.Namespace+"/caject-ca").CombinedOutput()
		return string(out), err
	}
	if out, err := selftest(strings.Join(kinds, ",")); err != nil || strings.Count(out, ": injected in the answer") != len(kinds) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := selftest("APIService"); err == nil || !strings.Contains(out, "forbidden") {
		t.Errorf("what the test was given no right to says %s", out)
	}
	stored, err := shared.control.Kubectl(ctx, "", "get", "mutatingwebhookconfigurations,customresourcedefinitions", "--output", "name")
	if err != nil || strings.Contains(stored.Stdout, "selftest") {
		t.Errorf("it was no dry run: %s, %v", stored.Stdout, err)
	}
}
