package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	probe "github.com/caject/caject/cabundle/selftest"
)

// selftest has objects created that ask for injection, all in dry runs, and looks at what the API server answers.
type selftest struct {
	kubeconfig string
	source     string
	kinds      []string
	timeout    time.Duration
}

// selftestPause is the time between two attempts.
const selftestPause = time.Second

func newSelftestCommand() *cobra.Command {
	s := &selftest{}
	command := &cobra.Command{
		Use:   "selftest",
		Short: "Prove that the cluster injects: create annotated objects in dry runs, and print what came of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := s.connect()
			if err != nil {
				return err
			}
			return s.run(cmd.Context(), api, cmd.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "Kubeconfig file. Without it: $KUBECONFIG, then ~/.kube/config, then the service account of the pod.")
	flags.StringVar(&s.source, "source", "apiserver",
		"Source of the objects, as in the annotation caject.io/inject-ca-from. For a webhook configuration: a source that another object names.")
	flags.StringSliceVar(&s.kinds, "kinds", []string{string(cabundle.CustomResourceDefinition)},
		"Kinds of the objects: CustomResourceDefinition, APIService, and, where policies fill, MutatingWebhookConfiguration.")
	flags.DurationVar(&s.timeout, "timeout", 30*time.Second, "How long to try.")
	return command
}

// connect returns a way to the API server.
func (s *selftest) connect() (probe.API, error) {
	config, err := loadConfig(s.kubeconfig)
	if err != nil {
		return nil, err
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return cluster.NewTargets(config, httpClient)
}

// run tries each kind until it is injected, or the time is over. It prints a line for each, and returns what was not injected.
func (s *selftest) run(ctx context.Context, api probe.API, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var failed []error
	for _, kind := range s.kinds {
		if !probe.Knows(cabundle.Kind(kind)) {
			return fmt.Errorf("--kinds: there is no test for %q", kind)
		}
		var line string
		var last error
		if err := wait.PollUntilContextCancel(ctx, selftestPause, true, func(ctx context.Context) (bool, error) {
			said, err := s.try(ctx, api, cabundle.Kind(kind))
			if err != nil && ctx.Err() != nil && last != nil {
				return false, nil // cut short by the end of the time: what was said before says more
			}
			line, last = said, err
			return err == nil, nil
		}); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", kind, cmp.Or(last, err)))
			continue
		}
		fmt.Fprintf(out, "%s: %s\n", kind, line)
	}
	return errors.Join(failed...)
}

// try creates one object in a dry run, and returns a line about what was injected.
func (s *selftest) try(ctx context.Context, api probe.API, kind cabundle.Kind) (string, error) {
	bundle, err := probe.Try(ctx, api, kind, s.source)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("injected in the answer of the API server, certificates: %d, the first to expire on %s",
		len(bundle.Certificates()), bundle.FirstExpiry().UTC().Format(time.DateOnly)), nil
}
