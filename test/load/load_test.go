package load

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// TestALittleLoad is a tenth of what make load does, but for the large CRD, with cainjector as well.
func TestALittleLoad(t *testing.T) {
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "caject")
	if err := playground.BuildCaject(t.Context(), root, program, "-race"); err != nil {
		t.Fatal(err)
	}
	cainjector := filepath.Join(t.TempDir(), "cainjector")
	if err := playground.BuildCainjector(t.Context(), root, cainjector); err != nil {
		t.Fatal(err)
	}
	w, err := trial.NewWorld(t.Context(), trial.Options{Program: program, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	err = Run(t.Context(), w, Options{
		Objects: 200, Sources: 20, Creates: 100, MaxMemory: 512 << 20, Patience: 2 * time.Minute, Cainjector: cainjector,
	}, &table)
	if err != nil {
		t.Errorf("%v\n%s", err, w.Logs())
	}
	t.Log("\n" + table.String())
	if rows, peer := strings.Count(table.String(), "\n"), strings.Count(table.String(), " s\n"); err == nil && (rows != 9 || peer != 5) {
		t.Errorf("the table has %d lines, %d of them with a figure of cainjector's", rows, peer)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
