// Command flux applies manifests, and looks for drift, by the code of Flux's kustomize-controller: the package ssa.
//
//	flux -kubeconfig FILE apply|diff <manifests
//	flux -kubeconfig FILE -kustomization FILE wait
//
// It prints a line for each object: its kind, name, and what ssa did or would do: created, configured, unchanged. wait makes the health checks
// of a Kustomization, until all is healthy or its timeout is over.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// The names that kustomize-controller gives itself.
const (
	fieldManager = "kustomize-controller"
	ownerGroup   = "kustomize.toolkit.fluxcd.io"
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
	flags := flag.NewFlagSet("flux", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "whom to talk to")
	file := flags.String("kustomization", "", "a file with a Kustomization")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log.SetLogger(log.Log)
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	kustomization := &kustomizev1.Kustomization{}
	if *file != "" {
		if kustomization, err = readKustomization(*file); err != nil {
			return err
		}
	}
	manager, err := newManager(config, kustomization)
	if err != nil {
		return err
	}
	if flags.Arg(0) == "wait" {
		return wait(ctx, manager, kustomization)
	}
	objects, err := readObjects(stdin)
	if err != nil {
		return err
	}
	manager.SetOwnerLabels(objects, "clients", "flux-system")
	switch flags.Arg(0) {
	case "apply":
		return apply(ctx, manager, objects, stdout)
	case "diff":
		return diff(ctx, manager, objects, stdout)
	}
	return errors.New("usage: flux -kubeconfig FILE apply|diff <manifests, or flux -kubeconfig FILE -kustomization FILE wait")
}

func newManager(config *rest.Config, kustomization *kustomizev1.Kustomization) (*ssa.ResourceManager, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, httpClient)
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Mapper: mapper})
	if err != nil {
		return nil, err
	}
	readers, err := statusReaders(mapper, kustomization)
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(c, mapper, polling.Options{CustomStatusReaders: readers})
	return ssa.NewResourceManager(c, poller, ssa.Owner{Field: fieldManager, Group: ownerGroup}), nil
}

// readObjects reads manifests and gives them the defaults that Flux gives them.
func readObjects(r io.Reader) ([]*unstructured.Unstructured, error) {
	objects, err := utils.ReadObjects(r)
	if err != nil {
		return nil, fmt.Errorf("read the manifests: %w", err)
	}
	return objects, normalize.UnstructuredList(objects)
}

// apply does what a reconciliation does: CRDs first, then the rest, and of all of them only those that have drifted.
func apply(ctx context.Context, manager *ssa.ResourceManager, objects []*unstructured.Unstructured, stdout io.Writer) error {
	changes, err := manager.ApplyAllStaged(ctx, objects, ssa.DefaultApplyOptions())
	if err != nil {
		return err
	}
	for _, entry := range changes.Entries {
		fmt.Fprintln(stdout, entry.ObjMetadata.GroupKind.Kind, entry.ObjMetadata.Name, entry.Action)
	}
	return nil
}

func diff(ctx context.Context, manager *ssa.ResourceManager, objects []*unstructured.Unstructured, stdout io.Writer) error {
	for _, object := range objects {
		entry, _, _, err := manager.Diff(ctx, object, ssa.DefaultDiffOptions())
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, object.GetKind(), object.GetName(), entry.Action)
	}
	return nil
}
