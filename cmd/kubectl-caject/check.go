package main

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/survey"
)

// checkCommand says whether caject can be installed, or whether an installed one works.
type checkCommand struct {
	*plugin
	pre    bool
	output string
}

// checkOutputs are the forms of output beside the list.
var checkOutputs = []string{"short", "json", "yaml"}

func newCheckCommand(p *plugin) *cobra.Command {
	c := &checkCommand{plugin: p}
	command := &cobra.Command{
		Use:   "check",
		Short: "Check that caject works; with --pre, that it can be installed",
		Long: `Check that caject works: its replicas, the certificates that they serve, admission, rights and sources, each with a reason.
With --pre, before the installation: what the cluster offers, your rights, and who else injects.

It changes nothing: it uses dry runs to try things. ✓ is ok, ! works but is worth knowing, ✗ does not work, and – is unknown,
usually because you lack a right.

--namespace is the namespace of caject: where to look for it, instead of all namespaces, or, with --pre, where to install it (caject by default).
Exit code 1 if a check failed; 2 if it could not look for an installation.`,
		Example: `  # Before the installation.
  kubectl caject check --pre

  # After it; in a pipeline, only what is not ok.
  kubectl caject check --output short`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	flags := command.Flags()
	flags.BoolVar(&c.pre, "pre", false, "Check that caject can be installed.")
	flags.StringVarP(&c.output, "output", "o", "", "short (a line for each check that is not ok), json or yaml.")
	completeWith(command, "output", checkOutputs...)
	return command
}

func (c *checkCommand) run(ctx context.Context) error {
	if err := checkOutput(c.output, checkOutputs...); err != nil {
		return err
	}
	e, err := newExamination(c.plugin)
	if err != nil {
		return err
	}
	examine := e.after
	if c.pre {
		examine = e.before
	}
	found, err := examine(ctx)
	if err == nil {
		err = ctx.Err() // what was cut short says nothing
	}
	if err != nil {
		return err
	}
	return c.show(found)
}

func (c *checkCommand) show(found *report) error {
	var err error
	switch c.output {
	case "json", "yaml":
		err = printData(c.Out, c.output, found)
	default:
		err = found.print(c.Out, terminalOf(c.Out), c.output == "short")
	}
	if err == nil && found.count(failed) > 0 {
		return errNotRight
	}
	return err
}

// examination asks the API server what has to be judged.
type examination struct {
	plugin    *plugin
	namespace string // caject's, if it was given
	http      *http.Client
	api       kubernetes.Interface
	metadata  metadata.Interface
	targets   *cluster.Targets
	reader    *survey.Reader
	now       func() time.Time
}

func newExamination(p *plugin) (*examination, error) {
	config, err := p.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS = -1                           // parallelReviews is what bounds it, and the API server's own fairness
	config.WarningHandler = rest.NoWarnings{} // of a dry run they are answers
	e := &examination{plugin: p, namespace: *p.config.Namespace, now: time.Now}
	if e.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, err
	}
	if e.api, err = kubernetes.NewForConfigAndClient(config, e.http); err != nil {
		return nil, err
	}
	if e.metadata, err = metadata.NewForConfigAndClient(metadata.ConfigFor(config), e.http); err != nil {
		return nil, err
	}
	if e.targets, err = cluster.NewTargets(config, e.http); err != nil {
		return nil, err
	}
	e.reader, err = survey.NewReader(config)
	return e, err
}

// category is what is checked under one heading.
type category struct {
	name  string
	check func(context.Context) []verdict
}

// examine goes through categories, one after the other.
func examine(ctx context.Context, categories []category) *report {
	found := &report{Checks: []verdict{}}
	for _, c := range categories {
		for _, v := range c.check(ctx) {
			v.Category = c.name
			found.Checks = append(found.Checks, v)
		}
	}
	return found
}
