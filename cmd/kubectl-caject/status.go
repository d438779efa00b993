package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caject/caject/cabundle/survey"
)

// statusCommand shows each annotated object beside its source.
type statusCommand struct {
	*plugin
	selection survey.Selection
	states    []string
	output    string
	watch     bool
	wait      bool
	timeout   time.Duration
	interval  time.Duration
}

// statusOutputs are the forms of output beside the table.
var statusOutputs = []string{"wide", "json", "yaml", "name"}

func newStatusCommand(p *plugin) *cobra.Command {
	s := &statusCommand{plugin: p}
	command := &cobra.Command{
		Use:   "status [KIND[/NAME]...]",
		Short: "Show each annotated object, whether it holds its caBundle, and if not, why",
		Long: `Show each object that asks for a caBundle: its source, its state, when its first CA expires, and what is wrong.

States: ` + strings.Join(stateNames(), ", ") + `.

--namespace names the namespace of the sources. Exit code 1 if an object is not right.`,
		Example: `  # The whole cluster.
  kubectl caject status

  # After an installation: wait until all webhooks of a chart are filled, at most two minutes.
  kubectl caject status --wait --namespace my-operator

  # One object, with all details.
  kubectl caject status validatingwebhookconfiguration/my-operator --output yaml

  # Objects that are not right, for a script.
  kubectl caject status --state Refused,Pending --output name`,
		ValidArgsFunction: p.completeTargets,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args) },
	}
	flags := command.Flags()
	flags.StringVarP(&s.output, "output", "o", "", "wide, json, yaml or name. Without it: a table, with the problems below it.")
	flags.StringSliceVar(&s.states, "state", nil, "Show only objects in these states.")
	flags.BoolVarP(&s.watch, "watch", "w", false, "Print changes until interrupted.")
	flags.BoolVar(&s.wait, "wait", false, "Wait until all selected objects are right.")
	flags.DurationVar(&s.timeout, "timeout", 2*time.Minute, "How long to wait.")
	flags.DurationVar(&s.interval, "interval", 2*time.Second, "How often to look, with --watch and --wait.")
	command.MarkFlagsMutuallyExclusive("watch", "wait")
	completeWith(command, "output", statusOutputs...)
	completeWith(command, "state", stateNames()...)
	return command
}

func stateNames() []string {
	var names []string
	for _, state := range survey.States() {
		names = append(names, string(state))
	}
	return names
}

func (s *statusCommand) run(ctx context.Context, args []string) error {
	if err := s.complete(args); err != nil {
		return err
	}
	reader, err := s.reader()
	if err != nil {
		return err
	}
	if s.watch || s.wait {
		return s.follow(ctx, reader)
	}
	found, err := reader.Read(ctx, s.selection)
	if err != nil {
		return err
	}
	if err := s.print(found); err != nil {
		return err
	}
	if !found.Right() {
		return errNotRight
	}
	return nil
}

// complete checks arguments and flags.
func (s *statusCommand) complete(args []string) (err error) {
	if s.selection, err = survey.ParseSelection(args); err != nil {
		return err
	}
	if err := checkOutput(s.output, statusOutputs...); err != nil {
		return err
	}
	if s.interval < 100*time.Millisecond {
		return fmt.Errorf("--interval: %s is too short: 100ms at least", s.interval)
	}
	if s.timeout <= 0 {
		return fmt.Errorf("--timeout: %s is not in the future", s.timeout)
	}
	for _, name := range s.states {
		at := slices.IndexFunc(survey.States(), func(state survey.State) bool { return strings.EqualFold(string(state), name) })
		if at < 0 {
			return fmt.Errorf("--state: %q is none of %s", name, strings.Join(stateNames(), ", "))
		}
		s.selection.States = append(s.selection.States, survey.States()[at])
	}
	s.selection.Namespace = *s.config.Namespace
	return nil
}
