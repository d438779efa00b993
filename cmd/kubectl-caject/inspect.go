package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

// inspectCommand shows all that is known of one object.
type inspectCommand struct {
	*plugin
	output string
	dial   bool
}

// inspectOutputs are the forms of output beside the text.
var inspectOutputs = []string{"json", "yaml"}

func newInspectCommand(p *plugin) *cobra.Command {
	i := &inspectCommand{plugin: p}
	command := &cobra.Command{
		Use:   "inspect KIND/NAME | secret/NAMESPACE/NAME | certificate/NAMESPACE/NAME | cabundle/NAME",
		Short: "Show one object with its certificates, and each step from the annotation to the caBundle",
		Long: `Show one object with its certificates, and each step from the annotation to the caBundle.

For an object with a caBundle: its certificates, and which certificate of the source each of them is; where the chain from the
annotation to the caBundle is broken; who owns the field; the latest Events. For a Secret or Certificate: the certificates in ca.crt,
no other content, and the objects that name it. For a CABundle: what caject publishes.

--dial connects to the server that the API server would call, and says whether the API server accepts what it serves. For a Service
you need the right to forward ports to its pods.

Exit code 1 if something is wrong.`,
		Example: `  # Why does this object have no caBundle?
  kubectl caject inspect validatingwebhookconfiguration/my-operator

  # "x509: certificate signed by unknown authority": what does the server serve, and which CAs are trusted?
  kubectl caject inspect crd/widgets.example.com --dial

  # Which objects get the CA of this Secret?
  kubectl caject inspect secret/my-operator/webhook-tls`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: p.completeTargets,
		RunE:              func(cmd *cobra.Command, args []string) error { return i.run(cmd.Context(), args) },
	}
	flags := command.Flags()
	flags.StringVarP(&i.output, "output", "o", "", "json or yaml. Without it: text.")
	flags.BoolVar(&i.dial, "dial", false, "Connect to the server behind each caBundle, and verify what it serves.")
	completeWith(command, "output", inspectOutputs...)
	return command
}

func (i *inspectCommand) run(ctx context.Context, args []string) error {
	if err := checkOutput(i.output, inspectOutputs...); err != nil {
		return err
	}
	subject, err := parseSubject(args, *i.config.Namespace)
	if err != nil {
		return err
	}
	if i.dial && subject.Target.Kind == "" {
		return fmt.Errorf("--dial is for objects with a caBundle: nothing is served behind %s", strings.Join(args, " "))
	}
	reader, err := i.reader()
	if err != nil {
		return err
	}
	found, err := reader.Inspect(ctx, subject)
	if err != nil {
		return err
	}
	if i.dial {
		if err := i.addDials(ctx, reader, found); err != nil {
			return err
		}
	}
	if i.output != "" {
		err = printData(i.Out, i.output, found)
	} else {
		_, err = io.WriteString(i.Out, inspected(terminalOf(i.Out), found))
	}
	if err == nil && !found.Right() {
		err = errNotRight
	}
	return err
}

// Words for what is no target, with those of kubectl.
var (
	sourceWords = map[string]cabundle.SourceKind{
		"secret": cabundle.Secret, "secrets": cabundle.Secret,
		"certificate": cabundle.Certificate, "certificates": cabundle.Certificate, "cert": cabundle.Certificate, "certs": cabundle.Certificate,
		"certificate.cert-manager.io": cabundle.Certificate, "certificates.cert-manager.io": cabundle.Certificate,
	}
	cabundleWords = []string{"cabundle", "cabundles", "cabundle.caject.io", "cabundles.caject.io"}
)

// parseSubject reads the arguments: KIND/NAME, or KIND and NAME. namespace, if it is not empty, is that of a source without one.
func parseSubject(args []string, namespace string) (survey.Subject, error) {
	text := strings.Join(args, "/")
	kind, name, _ := strings.Cut(text, "/")
	word := strings.ToLower(kind)
	sourceKind, isSource := sourceWords[word]
	switch {
	case text == string(cabundle.APIServer):
		return survey.Subject{Source: cabundle.Reference{Kind: cabundle.APIServer}}, nil
	case isSource:
		if namespace != "" && !strings.Contains(name, "/") {
			name = namespace + "/" + name
		}
		ref, ok := cabundle.ParseReference(string(sourceKind) + "/" + name)
		if !ok {
			return survey.Subject{}, fmt.Errorf("%q is not %s/NAMESPACE/NAME", text, sourceKind)
		}
		return survey.Subject{Source: ref}, nil
	}
	target, isTarget := survey.ParseKind(kind)
	isCABundle := slices.Contains(cabundleWords, word)
	switch {
	case !isTarget && !isCABundle:
		_, err := survey.ParseSelection([]string{cmp.Or(kind, text)})
		return survey.Subject{}, fmt.Errorf("%w; or a secret, certificate or cabundle", err)
	case name == "" || len(content.IsPathSegmentName(name)) > 0:
		return survey.Subject{}, fmt.Errorf("%q is not KIND/NAME", text)
	case isCABundle:
		return survey.Subject{CABundle: name}, nil
	}
	return survey.Subject{Target: cabundle.Target{Kind: target, Name: name}}, nil
}
