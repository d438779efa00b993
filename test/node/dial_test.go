package node

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

// TestDialForwardsAPortToAPod has kubectl caject ask caject's own pods what they serve, through the API server and the kubelet, with the chart as it is.
func TestDialForwardsAPortToAPod(t *testing.T) {
	ctx := t.Context()
	plugin := filepath.Join(cluster.Root, "bin", "kubectl-caject")
	if err := playground.BuildPlugin(ctx, cluster.Root, plugin); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"mwc/caject", "vwc/caject-hints"} {
		out, err := exec.CommandContext(ctx, plugin, "--kubeconfig", cluster.Kubeconfig, "inspect", target, "--dial").CombinedOutput()
		t.Logf("%s:\n%s", target, out)
		if err != nil {
			t.Errorf("%s: %v", target, err)
		}
		for _, want := range []string{
			"served by Service caject/caject, port 443", "reached by forwarding port 9443 of Pod caject/caject-", "for caject.caject.svc", "✓ Verified: the API server accepts it",
		} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: %q is missing", target, want)
			}
		}
	}
}
