package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/caject/caject/internal/reference"
)

// TestTheReferenceHasEachCommand compares docs/cli.md with the commands that there are. UPDATE_REFERENCE=yes writes it.
func TestTheReferenceHasEachCommand(t *testing.T) {
	reference.Compare(t, "cli.md", manual())
}

// manual returns docs/cli.md.
func manual() string {
	root := newRootCommand(genericiooptions.IOStreams{})
	var text strings.Builder
	text.WriteString("# kubectl caject\n\n" + root.Long + `

## Install it

With Go 1.26 or later, into a folder that is in ` + "`PATH`" + `:

` + "```" + `
go install github.com/caject/caject/cmd/kubectl-caject@latest
` + "```" + `

From a checkout ` + "`make build`" + ` builds ` + "`bin/kubectl-caject`" + `. A release has archives for Linux, macOS and Windows, and a manifest for krew; there is
none yet ([Releases](release.md)). For shell completion, see ` + "`kubectl caject completion kubectl --help`" + `.

This page is generated from the commands.
`)
	for _, command := range root.Commands() {
		if command.Name() != "help" && command.Name() != "completion" {
			describe(&text, command)
		}
	}
	text.WriteString("\n## Flags of all commands\n\nThese are kubectl's flags.\n\n")
	describeFlags(&text, root.PersistentFlags())
	return text.String()
}

// describe writes what --help says of a command.
func describe(text *strings.Builder, command *cobra.Command) {
	use := strings.TrimPrefix(command.UseLine(), "kubectl caject ")
	fmt.Fprintf(text, "\n## kubectl caject %s\n\n```\nkubectl caject %s\n```\n\n%s\n", command.Name(), use, command.Long)
	if command.Example != "" {
		fmt.Fprintf(text, "\n```\n%s\n```\n", strings.TrimPrefix(strings.ReplaceAll("\n"+command.Example, "\n  ", "\n"), "\n"))
	}
	text.WriteString("\n")
	describeFlags(text, command.NonInheritedFlags())
}

func describeFlags(text *strings.Builder, flags *pflag.FlagSet) {
	text.WriteString("| flag | default | what |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" && f.Name != "cache-dir" { // that is in the caller's home
			value = "`" + f.DefValue + "`"
		}
		_, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(text, "| %s | %s | %s |\n", name, reference.Cell(value), reference.Cell(usage))
	})
}
