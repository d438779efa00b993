package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheChartHasOurFieldManagers: the webhook is not called for what caject writes, nor for what is left to the policies.
func TestTheChartHasOurFieldManagers(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "charts", "caject", "templates", "webhookconfiguration.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "!(request.?options.?fieldManager.orValue('') in ['" + FieldManager + "', '" + policyFieldManager + "'])"; !strings.Contains(string(text), want) {
		t.Errorf("no match condition is %s", want)
	}
}
