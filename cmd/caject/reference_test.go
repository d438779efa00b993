package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestTheReferenceHasEachFlag compares docs/flags.md with the flags that there are. UPDATE_REFERENCE=yes writes it.
func TestTheReferenceHasEachFlag(t *testing.T) {
	want := reference()
	file := filepath.Join("..", "..", "docs", "flags.md")
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
		t.Errorf("UPDATE_REFERENCE=yes go test -run TestTheReference ./cmd/caject brings it up to date: %s", diff)
	}
}

// reference returns docs/flags.md.
func reference() string {
	var text strings.Builder
	text.WriteString(`# Flags of caject

The chart sets the flags that it needs, and accepts more as ` + "`extraArgs`" + `; [its README](../charts/caject/README.md) has the values. The flags of cert-manager's cainjector are
among these; caject also reads its configuration file (` + "`--config`" + `, [migration](migration.md)). This page is generated from the flags.

| flag | default | what |
|---|---|---|
`)
	cell := func(s string) string { return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`) }
	newRunCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		_, usage := pflag.UnquoteUsage(f)
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		if f.Deprecated != "" {
			usage += " Deprecated: " + f.Deprecated + "."
		}
		fmt.Fprintf(&text, "| `--%s` | %s | %s |\n", f.Name, cell(value), cell(usage))
	})
	return text.String()
}
