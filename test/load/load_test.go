package load

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// TestALittleLoad is a tenth of what make load does, but for the large CRD.
func TestALittleLoad(t *testing.T) {
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "caject")
	if err := playground.BuildCaject(t.Context(), root, program, "-race"); err != nil {
		t.Fatal(err)
	}
	w, err := trial.NewWorld(t.Context(), trial.Options{Program: program, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	err = Run(t.Context(), w, Options{
		Objects: 200, Sources: 20, Creates: 100, MaxMemory: 512 << 20, Patience: 2 * time.Minute,
	}, &table)
	if err != nil {
		t.Errorf("%v\n%s", err, w.Logs())
	}
	t.Log("\n" + table.String())
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
