package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	buildversion "github.com/caject/caject/internal/version"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = ""

// execute runs the command line args and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "caject:", err)
		return 1
	}
	return 0
}

// newRootCommand returns the command caject, which is the same as caject run: a chart may pass bare flags.
func newRootCommand() *cobra.Command {
	root := newRunCommand()
	root.Use = "caject"
	root.Long = root.Short + `.

It fills the caBundle of annotated CustomResourceDefinitions and APIServices at admission, that of annotated webhook
configurations right after, and keeps all of them right when a CA rotates. It reads only the one object that an
annotation names, and never lists or watches Secrets.

It takes the flags and the configuration file of cert-manager's cainjector. Started with those alone, without
--ca-secret, it serves no admission and fills everything right after it was written.`
	// No template of ours for what --version prints: with text/template the linker keeps each method of each type, a quarter of the binary.
	root.Version = versionString()
	root.Flags().Bool("version", false, "Print the version, and do nothing else.")
	root.SilenceUsage = true
	root.SilenceErrors = true
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRunCommand(), newSelftestCommand(), newVersionCommand())
	return root
}

func newRunCommand() *cobra.Command {
	options := defaultOptions()
	command := &cobra.Command{
		Use:   "run",
		Short: "Inject CA bundles into webhook configurations, CRDs and APIServices",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := options.complete(cmd.Flags()); err != nil {
				return err
			}
			return run(cmd.Context(), options, cmd.ErrOrStderr())
		},
	}
	options.addFlags(command.Flags())
	return command
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "caject version %s\n", versionString())
			return err
		},
	}
}

// versionString returns the version of this binary, and what it was built with and for.
func versionString() string {
	return fmt.Sprintf("%s (%s, %s/%s)", moduleVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// moduleVersion is the version alone.
func moduleVersion() string { return buildversion.Of(version) }
