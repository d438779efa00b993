package soak

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
	"github.com/caject/caject/test/trial/trialtest"
)

// TestAShortSoak is half a minute of it, with two caject, and SOAK_APISERVERS kube-apiservers on one etcd. No CA expires.
func TestAShortSoak(t *testing.T) {
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "caject")
	if err := playground.BuildCaject(t.Context(), root, program, "-race"); err != nil {
		t.Fatal(err)
	}
	apiServers, err := trialtest.Number("SOAK_APISERVERS", 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := trial.NewWorld(t.Context(), trial.Options{Program: program, Replicas: 2, APIServers: apiServers})
	if err != nil {
		t.Fatal(err)
	}
	var summary strings.Builder
	err = Run(t.Context(), w, Options{
		Duration: 30 * time.Second, Sources: 5, Pause: 50 * time.Millisecond, Patience: time.Minute, SpareMemory: 128 << 20, Lifetime: time.Hour,
	}, &summary)
	if err != nil {
		t.Errorf("%v\n%s", err, w.Logs())
	}
	t.Log("\n" + summary.String())
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
