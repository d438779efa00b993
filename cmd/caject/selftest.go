package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
)

// selftest has objects created that ask for injection, all in dry runs, and looks at what the API server answers.
type selftest struct {
	kubeconfig string
	source     string
	kinds      []string
	timeout    time.Duration
}

// create asks the API server to create an object in a dry run, puts what it answers into the object, and returns the warnings that came along.
type create func(ctx context.Context, object *unstructured.Unstructured) (warnings []string, err error)

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
		"What the objects name as their source, as the annotation caject.io/inject-ca-from has it. For a webhook configuration: one that another object names.")
	flags.StringSliceVar(&s.kinds, "kinds", []string{string(cabundle.CustomResourceDefinition)},
		"Kinds of the objects. MutatingWebhookConfiguration is one where policies fill; APIService is the third.")
	flags.DurationVar(&s.timeout, "timeout", 30*time.Second, "How long to try.")
	return command
}

// connect returns a way to the API server.
func (s *selftest) connect() (create, error) {
	config, err := loadConfig(s.kubeconfig)
	if err != nil {
		return nil, err
	}
	warned := &collectedWarnings{}
	config.WarningHandler = warned
	api, err := client.New(config, client.Options{Scheme: newScheme(), Mapper: newMapper()})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, object *unstructured.Unstructured) ([]string, error) {
		warned.texts = nil
		err := api.Create(ctx, object, client.DryRunAll, client.FieldOwner("caject-selftest"))
		return warned.texts, err
	}, nil
}

// collectedWarnings are what the API server says beside its answers. It is used by one request at a time.
type collectedWarnings struct{ texts []string }

var _ rest.WarningHandler = &collectedWarnings{}

// HandleWarningHeader implements rest.WarningHandler.
func (c *collectedWarnings) HandleWarningHeader(code int, _, text string) {
	if code == 299 && text != "" { // as all of Kubernetes' are
		c.texts = append(c.texts, text)
	}
}

// run tries each kind until it is injected, or the time is over. It prints a line for each, and returns what was not injected.
func (s *selftest) run(ctx context.Context, api create, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var failed []error
	for _, kind := range s.kinds {
		manifest, known := selftestManifests[cabundle.Kind(kind)]
		if !known {
			return fmt.Errorf("--kinds: there is no test for %q", kind)
		}
		var line string
		var last error
		if err := wait.PollUntilContextCancel(ctx, selftestPause, true, func(ctx context.Context) (bool, error) {
			said, err := s.try(ctx, api, cabundle.Kind(kind), manifest)
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
func (s *selftest) try(ctx context.Context, api create, kind cabundle.Kind, manifest map[string]any) (string, error) {
	object := &unstructured.Unstructured{Object: manifest}
	object = object.DeepCopy()
	object.SetGroupVersionKind(kind.GroupVersionKind())
	object.SetAnnotations(map[string]string{cabundle.InjectAnnotation: s.source})
	warnings, err := api(ctx, object)
	if err != nil {
		return "", fmt.Errorf("create %s in a dry run: %w", object.GetName(), err)
	}
	raw, err := object.MarshalJSON()
	if err != nil {
		return "", err
	}
	for _, field := range cabundle.ParseObject(kind, raw).Fields {
		bundle := cabundle.ParseExisting(field.CABundle)
		if bundle.Empty() {
			continue
		}
		return fmt.Sprintf("injected in the answer of the API server, certificates: %d, the first to expire on %s",
			len(bundle.Certificates()), bundle.FirstExpiry().UTC().Format(time.DateOnly)), nil
	}
	return "", fmt.Errorf("the API server answered without a caBundle %s", said(warnings))
}

func said(warnings []string) string {
	if len(warnings) == 0 {
		return "and without a warning: neither caject nor a policy has answered"
	}
	return "and said: " + strings.Join(warnings, "; ")
}

// selftestManifests are objects that are never stored, by kind. Each has a place for a caBundle.
var selftestManifests = map[cabundle.Kind]map[string]any{
	cabundle.MutatingWebhookConfiguration: {
		"metadata": map[string]any{"name": "selftest.caject.io"},
		"webhooks": []any{map[string]any{
			"name": "selftest.caject.io", "admissionReviewVersions": []any{"v1"}, "sideEffects": "None", "failurePolicy": "Ignore",
			"clientConfig": map[string]any{"url": "https://selftest.caject.invalid/"},
		}},
	},
	cabundle.CustomResourceDefinition: {
		"metadata": map[string]any{"name": "selftests.selftest.caject.io"},
		"spec": map[string]any{
			"group": "selftest.caject.io", "scope": "Cluster",
			"names": map[string]any{"kind": "Selftest", "listKind": "SelftestList", "plural": "selftests", "singular": "selftest"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}},
			}},
			"conversion": map[string]any{"strategy": "Webhook", "webhook": map[string]any{
				"conversionReviewVersions": []any{"v1"}, "clientConfig": map[string]any{"url": "https://selftest.caject.invalid/"},
			}},
		},
	},
	cabundle.APIService: {
		"metadata": map[string]any{"name": "v1.selftest.caject.io"},
		"spec": map[string]any{
			"group": "selftest.caject.io", "version": "v1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
			"service": map[string]any{"name": "selftest", "namespace": "default"},
		},
	},
}
