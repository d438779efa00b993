package main

import (
	"context"
	"fmt"
	"io"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"k8s.io/client-go/kubernetes"
)

// health prints a line for each object that has one: kind, name, health, and its message. The scripts are those in the ConfigMap argocd-cm of
// the Application's namespace, and Argo CD's own.
func (c *controller) health(ctx context.Context, state sync.ReconciliationResult, stdout io.Writer) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	overrides, err := settings.NewSettingsManager(ctx, client, c.app.Namespace).GetResourceOverrides()
	if err != nil {
		return err
	}
	for i, live := range state.Live {
		if live == nil {
			fmt.Fprintln(stdout, state.Target[i].GetKind(), state.Target[i].GetName(), health.HealthStatusMissing)
			continue
		}
		status, err := health.GetResourceHealth(live, lua.ResourceHealthOverrides(overrides))
		if err != nil {
			return err
		}
		if status != nil {
			fmt.Fprintln(stdout, live.GetKind(), live.GetName(), status.Status, status.Message)
		}
	}
	return nil
}
