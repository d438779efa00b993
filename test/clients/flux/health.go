package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// readKustomization reads a Kustomization, and nothing that such a one has not.
func readKustomization(file string) (*kustomizev1.Kustomization, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	kustomization := &kustomizev1.Kustomization{}
	if err := yaml.UnmarshalStrict(content, kustomization); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return kustomization, nil
}

// statusReaders are those that a Kustomization's expressions make.
func statusReaders(mapper meta.RESTMapper, kustomization *kustomizev1.Kustomization) ([]engine.StatusReader, error) {
	if len(kustomization.Spec.HealthCheckExprs) == 0 {
		return nil, nil
	}
	reader, err := cel.NewStatusReader(kustomization.Spec.HealthCheckExprs)
	if err != nil {
		return nil, err
	}
	return []engine.StatusReader{reader(mapper)}, nil
}

// wait follows checkHealth of kustomize-controller, for a Kustomization that names what to check: it returns nil once all of that is as it
// should be.
func wait(ctx context.Context, manager *ssa.ResourceManager, kustomization *kustomizev1.Kustomization) error {
	var checked object.ObjMetadataSet
	for _, reference := range kustomization.Spec.HealthChecks {
		version, err := schema.ParseGroupVersion(reference.APIVersion)
		if err != nil {
			return err
		}
		checked = append(checked, object.ObjMetadata{GroupKind: version.WithKind(reference.Kind).GroupKind(), Namespace: reference.Namespace, Name: reference.Name})
	}
	return manager.WaitForSetWithContext(ctx, checked, ssa.WaitOptions{Interval: time.Second, Timeout: kustomization.GetTimeout(), FailFast: true})
}
