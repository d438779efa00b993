package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/caject/caject/cabundle/survey"
	buildversion "github.com/caject/caject/internal/version"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = ""

// The exit codes.
const (
	exitRight    = 0
	exitNotRight = 1 // something that was looked at is not right
	exitFailed   = 2 // it could not be looked at: no cluster, no rights, a wrong argument
)

// errNotRight ends a command that has shown what is not right.
var errNotRight = errors.New("something is not right")

// plugin is what all commands share.
type plugin struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
}

// execute runs the command line args and returns the exit code.
func execute(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	root := newRootCommand(streams)
	root.SetArgs(args)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitRight
	case errors.Is(err, errNotRight):
		return exitNotRight
	default:
		fmt.Fprintln(streams.ErrOut, "error:", explain(ctx, err))
		return exitFailed
	}
}

func newRootCommand(streams genericiooptions.IOStreams) *cobra.Command {
	p := &plugin{IOStreams: streams, config: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:   "kubectl-caject",
		Short: "Show the state of the caBundles of a cluster",
		Long: `Show the state of the caBundles of a cluster: which objects ask for one, whether they hold it, and if not, why.

It uses your own rights, works whether caject runs or not, and also in a cluster in which cert-manager's
cainjector injects. It never lists Secrets: it reads only those that an annotation names.

Exit code 0: all is right. 1: something is wrong. 2: the state is unknown.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl caject"},
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       buildversion.Of(version),
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	*p.config.Timeout = "30s" // kubectl waits for ever
	p.config.AddFlags(root.PersistentFlags())
	root.AddCommand(newStatusCommand(p), newInspectCommand(p), newCheckCommand(p), newAuditCommand(p))
	addCompletion(root)
	return root
}

// reader returns what reads the cluster.
func (p *plugin) reader() (*survey.Reader, error) {
	config, err := p.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	return survey.NewReader(config)
}
