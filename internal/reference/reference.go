// Package reference keeps pages that are made from the code true. Only tests use it.
package reference

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Compare fails the test unless docs/NAME is want. UPDATE_REFERENCE=yes writes it. The test is one of a command in cmd.
func Compare(t *testing.T, name, want string) {
	t.Helper()
	file := filepath.Join("..", "..", "docs", name)
	if os.Getenv("UPDATE_REFERENCE") == "yes" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("UPDATE_REFERENCE=yes go test -run TestTheReference ./cmd/... brings it up to date: %s", diff)
	}
}

// Cell returns text as it stands in one cell of a table.
func Cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
