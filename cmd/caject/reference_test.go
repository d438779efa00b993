package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/caject/caject/internal/reference"
)

// TestTheReferenceHasEachFlag compares docs/flags.md with the flags that there are. UPDATE_REFERENCE=yes writes it.
func TestTheReferenceHasEachFlag(t *testing.T) {
	reference.Compare(t, "flags.md", manual())
}

// manual returns docs/flags.md.
func manual() string {
	var text strings.Builder
	text.WriteString(`# Flags of caject

The chart sets the flags that it needs, and accepts more as ` + "`extraArgs`" + `; [its README](../charts/caject/README.md) has the values. The flags of cert-manager's cainjector are
among these; caject also reads its configuration file (` + "`--config`" + `, [migration](migration.md)). This page is generated from the flags.

| flag | default | what |
|---|---|---|
`)
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
		fmt.Fprintf(&text, "| `--%s` | %s | %s |\n", f.Name, reference.Cell(value), reference.Cell(usage))
	})
	return text.String()
}
