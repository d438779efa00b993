package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

// kubectlCompletion is what kubectl runs to complete a plugin's arguments: a program kubectl_complete-NAME in PATH.
const kubectlCompletion = `#!/usr/bin/env sh
exec kubectl caject __complete "$@"
`

// addCompletion adds cobra's command completion, and to that what kubectl itself needs.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd("completion")
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		panic(err) // cobra has just added it
	}
	completion.AddCommand(&cobra.Command{
		Use:   "kubectl",
		Short: "Print the program by which kubectl completes the arguments of kubectl caject",
		Long: `Print the program by which kubectl completes the arguments of kubectl caject. kubectl looks for it in PATH, by its name:

  kubectl caject completion kubectl > ~/.local/bin/kubectl_complete-caject
  chmod +x ~/.local/bin/kubectl_complete-caject

Enable the completion of kubectl itself as well: kubectl completion --help.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), kubectlCompletion)
			return err
		},
	})
}

// completeTargets completes KIND and KIND/NAME: with a slash it asks the cluster.
func (p *plugin) completeTargets(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	text, _, named := strings.Cut(typed, "/")
	var completions []cobra.Completion
	if !named {
		for _, kind := range cabundle.Kinds() {
			completions = append(completions, strings.ToLower(string(kind))+"/")
		}
		return completions, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	kind, ok := survey.ParseKind(text)
	reader, err := p.reader()
	if !ok || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, err := reader.Read(cmd.Context(), survey.Selection{Kinds: []cabundle.Kind{kind}})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for i := range found.Targets {
		completions = append(completions, cobra.CompletionWithDesc(text+"/"+found.Targets[i].Name, string(found.Targets[i].State)))
	}
	return completions, cobra.ShellCompDirectiveNoFileComp
}

// completeWith completes the values of a flag that takes some of values.
func completeWith(cmd *cobra.Command, flag string, values ...string) {
	complete := cobra.FixedCompletions(slices.Clone(values), cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag
	}
}

// oneOf refuses the value of a flag that is none of values.
func oneOf(flag, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("--%s: %q is none of %s", flag, value, strings.Join(values, ", "))
}

// checkOutput refuses a form of output that is none of forms. Empty is what people read.
func checkOutput(output string, forms ...string) error {
	if output == "" {
		return nil
	}
	return oneOf("output", output, forms...)
}
