package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle/audit"
	"github.com/caject/caject/cabundle/manifests"
	"github.com/caject/caject/cabundle/survey"
)

// auditCommand looks for what is wrong, will be, or is weaker than it looks.
type auditCommand struct {
	*plugin
	files     []string
	recursive bool
	output    string
	ignored   []string
	failOn    string
	within    string

	ignores   []audit.Ignore
	threshold audit.Severity
	expires   time.Duration
}

// auditOutputs are the forms of output beside the table.
var auditOutputs = []string{"json", "yaml"}

// thresholds are the values of --fail-on.
var thresholds = []string{"error", "warning", "info", "never"}

// auditReport is what is printed as JSON and YAML.
type auditReport struct {
	Issues []audit.Issue `json:"issues"`
	// Objects is how many were looked at, and Ignored how many issues are left out by --ignore.
	Objects int      `json:"objects"`
	Ignored int      `json:"ignored"`
	Gaps    []string `json:"gaps,omitempty"`
}

func newAuditCommand(p *plugin) *cobra.Command {
	a := &auditCommand{plugin: p}
	command := &cobra.Command{
		Use:   "audit [-f FILE]...",
		Short: "Find present, future and hidden problems of caBundles and sources",
		Long: `Find present and future problems: annotations that nobody follows, sources that cannot be used or expire soon,
weak certificates, private keys that everybody can read, webhooks whose Service does not exist, rights that caject does
not need. Each finding has a code, a severity and a way out:
https://github.com/caject/caject/blob/main/docs/audit.md

With -f it checks manifests, for example in CI, and connects to no cluster: then a source that is not among them is no error.
Documents without a namespace count as in the one of --namespace; without that, in default.

Exit code 1 if it finds anything with the severity of --fail-on or worse.`,
		Example: `  # The whole cluster.
  kubectl caject audit

  # A chart, before you install it.
  helm template my-operator ./chart --namespace my-operator | kubectl caject audit --namespace my-operator -f -

  # The manifests of a repository. Warnings fail, too.
  kubectl caject audit -f deploy -R --fail-on warning

  # Leave out known and intended findings.
  kubectl caject audit --ignore ForeignCA --ignore 'SourceExpiring=secret/staging/*'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context()) },
	}
	flags := command.Flags()
	flags.StringArrayVarP(&a.files, "filename", "f", nil, "Check this `FILE`, or the files of this folder, instead of the cluster; - is standard input. May be given several times.")
	flags.BoolVarP(&a.recursive, "recursive", "R", false, "Check subfolders, too.")
	flags.StringVarP(&a.output, "output", "o", "", "json or yaml. Without it: a table.")
	flags.StringArrayVar(&a.ignored, "ignore", nil, "Leave out this `CODE`, or with CODE=OBJECT this code for such objects; * stands for any text. May be given several times.")
	flags.StringVar(&a.failOn, "fail-on", "error", "Lowest `SEVERITY` for exit code 1: error, warning, info, or never.")
	flags.StringVar(&a.within, "expires-within", "30d", "How `LONG` before its expiry a source counts as expiring. In the last seven days it is an error.")
	completeWith(command, "output", auditOutputs...)
	completeWith(command, "fail-on", thresholds...)
	completeWith(command, "ignore", codeNames()...)
	return command
}

func codeNames() []string {
	var names []string
	for _, code := range audit.Codes() {
		names = append(names, string(code))
	}
	return names
}

func (a *auditCommand) run(ctx context.Context) error {
	if err := a.complete(); err != nil {
		return err
	}
	look := a.cluster
	if len(a.files) > 0 {
		look = a.manifests
	}
	in, gaps, err := look(ctx)
	if err != nil {
		return err
	}
	in.Now, in.ExpiresWithin = time.Now(), a.expires
	report := auditReport{Objects: len(in.Targets), Gaps: slices.Concat(gaps, in.Gaps())}
	report.Issues, report.Ignored = audit.Split(audit.Run(in), a.ignores)
	if err := a.print(&report); err != nil {
		return err
	}
	if a.threshold > 0 && audit.Worst(report.Issues) >= a.threshold {
		return errNotRight
	}
	return nil
}

// complete checks the flags.
func (a *auditCommand) complete() (err error) {
	if err := checkOutput(a.output, auditOutputs...); err != nil {
		return err
	}
	if !slices.Contains(thresholds, strings.ToLower(a.failOn)) {
		return oneOf("fail-on", a.failOn, thresholds...)
	}
	a.threshold, _ = audit.ParseSeverity(a.failOn) // never is 0
	for _, text := range a.ignored {
		ignore, err := audit.ParseIgnore(text)
		if err != nil {
			return fmt.Errorf("--ignore: %w", err)
		}
		a.ignores = append(a.ignores, ignore)
	}
	if a.recursive && len(a.files) == 0 {
		return errors.New("--recursive: there is no folder: name one with -f")
	}
	if a.expires, err = parseDays(a.within); err != nil || a.expires < 0 {
		return fmt.Errorf("--expires-within: %q is no length of time, such as 30d or 12h", a.within)
	}
	return nil
}

// parseDays reads a duration of Go's, or a number of days.
func parseDays(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		number, err := strconv.ParseInt(days, 10, 16)
		return time.Duration(number) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// cluster reads what there is to look at from the cluster.
func (a *auditCommand) cluster(ctx context.Context) (in audit.Input, gaps []string, err error) {
	reader, err := a.reader()
	if err != nil {
		return in, nil, err
	}
	found, err := reader.Read(ctx, survey.Selection{Namespace: *a.config.Namespace})
	if err != nil {
		return in, nil, err
	}
	in.Targets = found.Targets
	if len(found.Gaps) == 0 && *a.config.Namespace == "" { // else an object that names it may be missing
		in.Published = found.Published
	}
	services, unread, err := reader.Services(ctx, found.Targets)
	if err != nil {
		return in, nil, err
	}
	grants, unknown, err := reader.Grants(ctx)
	in.Services, in.Grants = services, grants
	return in, slices.Concat(found.Gaps, unread, unknown), err
}

// manifests reads what there is to look at from files.
func (a *auditCommand) manifests(context.Context) (in audit.Input, notes []string, err error) {
	objects, notes, err := manifests.Load(a.files, a.recursive, a.In)
	if err != nil {
		return in, nil, err
	}
	namespace := *a.config.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	in.Targets, in.Manifests, err = manifests.Survey(time.Now(), objects, namespace)
	return in, notes, err
}

// print shows the report, and on stderr what is not known.
func (a *auditCommand) print(report *auditReport) error {
	if a.output != "" {
		return printData(a.Out, a.output, report)
	}
	for _, gap := range report.Gaps {
		fmt.Fprintln(a.ErrOut, "note:", gap)
	}
	_, err := fmt.Fprint(a.Out, issueTable(terminalOf(a.Out), report.Issues), audit.Summary(report.Issues, report.Objects, report.Ignored)+"\n")
	return err
}
