// Command argocd syncs manifests, and compares them with what is there, by the code of Argo CD: its gitops-engine, and the
// package of its application controller that knows what an Application says of comparing.
//
//	argocd -kubeconfig FILE -application FILE render CHECKOUT
//	argocd -kubeconfig FILE -application FILE sync|compare|health <manifests
//	argocd -kubeconfig FILE -application FILE delete
//
// The Application counts as it does for the controller: spec.syncPolicy.syncOptions and automated.prune, spec.ignoreDifferences, and the
// annotation argocd.argoproj.io/compare-options. render prints the manifests. compare and health print a line for each object: its kind, name,
// Synced or OutOfSync, and after OutOfSync what differs; or its health. RespectIgnoreDifferences is not known here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("argocd", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "whom to talk to")
	application := flags.String("application", "", "a file with an Application")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	c := &controller{config: config, kubectl: &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}}
	if err := readApplication(*application, &c.app); err != nil {
		return err
	}
	switch flags.Arg(0) {
	case "render":
		return c.render(ctx, flags.Arg(1), stdout)
	case "delete":
		return c.delete(ctx)
	}
	targets, err := readTargets(stdin, c.app.Name)
	if err != nil {
		return err
	}
	state, err := c.reconcile(ctx, targets)
	if err != nil {
		return err
	}
	switch flags.Arg(0) {
	case "sync":
		return c.sync(ctx, state)
	case "compare":
		return c.compare(state, stdout)
	case "health":
		return c.health(ctx, state, stdout)
	}
	return errors.New("usage: argocd -kubeconfig FILE -application FILE render CHECKOUT|sync|compare|health|delete <manifests")
}

// controller is what Argo CD's application controller is to one Application.
type controller struct {
	config  *rest.Config
	kubectl kube.Kubectl
	app     v1alpha1.Application
}

func readApplication(file string, app *v1alpha1.Application) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := yaml.NewYAMLOrJSONDecoder(f, 4096).Decode(app); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

// readTargets reads manifests, and marks the objects as the Application's, as Argo CD does by default: with its annotation. CRDs it does not mark.
func readTargets(r io.Reader, app string) ([]*unstructured.Unstructured, error) {
	var targets []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		target := &unstructured.Unstructured{}
		err := decoder.Decode(target)
		if errors.Is(err, io.EOF) {
			return targets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the manifests: %w", err)
		}
		targets = append(targets, target)
		if kube.IsCRD(target) {
			continue
		}
		if err := argo.NewResourceTracking().SetAppInstance(target, common.LabelKeyAppInstance, app, "", v1alpha1.TrackingMethodAnnotation, ""); err != nil {
			return nil, err
		}
	}
}
