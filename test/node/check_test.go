package node

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

// TestCheckOnTheNode: kubectl caject check finds nothing to say of the unchanged chart, and of each replica that its certificate is not
// accepted when somebody has put another CA into caject's configuration.
func TestCheckOnTheNode(t *testing.T) {
	ctx := t.Context()
	plugin := filepath.Join(t.TempDir(), "kubectl-caject")
	if err := playground.BuildPlugin(ctx, cluster.Root, plugin); err != nil {
		t.Fatal(err)
	}
	if err := cluster.settled(ctx, 2); err != nil {
		t.Fatal(err)
	}
	checks, code := cluster.check(t, plugin)
	t.Logf("as it is installed:\n%s", cluster.printed(t, plugin))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	certificates := 0
	for _, one := range checks {
		if one.Outcome != "ok" {
			t.Errorf("%s: %s, %s", one.Check, one.Outcome, one.Reason)
		}
		if strings.HasPrefix(one.Check, "certificate of caject-") {
			certificates++
		}
	}
	if certificates != 2 {
		t.Errorf("the certificates of %d replicas were looked at", certificates)
	}

	cluster.distrusted(t, plugin)
}

// distrusted has the API server trust another CA.
func (r *rig) distrusted(t *testing.T, plugin string) {
	t.Helper()
	ctx := t.Context()
	// Without its annotation caject leaves the configuration alone.
	const annotation = "cert-manager.io/inject-ca-from-secret"
	annotate := func(change string) error {
		_, err := r.Kubectl(ctx, "", "annotate", "mutatingwebhookconfiguration", "caject", annotation+change)
		return err
	}
	if err := annotate("-"); err != nil {
		t.Fatal(err)
	}
	patch := fmt.Sprintf(`[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":%q}]`, base64.StdEncoding.EncodeToString(playground.NewCA("other")))
	if _, err := r.Kubectl(ctx, "", "patch", "mutatingwebhookconfiguration", "caject", "--type=json", "--patch", patch); err != nil {
		t.Fatal(err)
	}
	if err := r.until(ctx, "both replicas are distrusted", func(context.Context) error {
		checks, code := r.check(t, plugin)
		distrusted := 0
		for _, one := range checks {
			if one.Outcome == "failed" && strings.Contains(one.Reason, "the API server does not accept it for inject.caject.io of caject: no certificate of the caBundle has issued it") {
				distrusted++
			}
		}
		if distrusted != 2 || code != 1 {
			return fmt.Errorf("exit code %d, and %v", code, checks)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("with another CA:\n%s", r.printed(t, plugin, "--output", "short"))
	if err := errors.Join(annotate("="+playground.Namespace+"/caject-ca"), r.settled(ctx, 2)); err != nil {
		t.Fatal(err)
	}
}

// checked is one check.
type checked struct{ Check, Outcome, Reason string }

// check runs kubectl caject check, and returns what it says and its exit code.
func (r *rig) check(t *testing.T, plugin string) ([]checked, int) {
	t.Helper()
	out, code := r.plugin(t, plugin, "--output", "json")
	var found struct{ Checks []checked }
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return found.Checks, code
}

// printed returns what it prints.
func (r *rig) printed(t *testing.T, plugin string, args ...string) string {
	t.Helper()
	out, _ := r.plugin(t, plugin, args...)
	return out
}

func (r *rig) plugin(t *testing.T, plugin string, args ...string) (out string, code int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), plugin, append([]string{"check", "--kubeconfig", r.Kubeconfig}, args...)...)
	command.Stderr = os.Stderr
	printed, err := command.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(printed), command.ProcessState.ExitCode()
}
