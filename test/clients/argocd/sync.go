package main

import (
	"context"
	"fmt"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	synccommon "github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/v3/common"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// sync follows SyncAppState of Argo CD's controller: a dry run of all, then each object as the sync options say, until all
// that it waits for is done.
func (c *controller) sync(ctx context.Context, state sync.ReconciliationResult) error {
	options := []sync.SyncOpt{
		sync.WithLogr(logr.Discard()),
		sync.WithOperationSettings(false, c.prunes(), false, false),
		sync.WithManifestValidation(!c.syncOption(synccommon.SyncOptionsDisableValidation)),
		sync.WithReplace(c.syncOption(synccommon.SyncOptionReplace)),
		sync.WithServerSideApply(c.syncOption(synccommon.SyncOptionServerSideApply)),
		sync.WithServerSideApplyManager(common.ArgoCDSSAManager),
	}
	if c.syncOption("CreateNamespace=true") {
		// As syncNamespace has it, without managedNamespaceMetadata.
		options = append(options, sync.WithNamespaceModifier(func(managed, live *unstructured.Unstructured) (bool, error) {
			return managed != nil && live == nil, nil
		}))
	}
	syncContext, cleanup, err := sync.NewSyncContext("1", state, c.config, c.config, c.kubectl, c.app.Spec.Destination.Namespace, options...)
	if err != nil {
		return err
	}
	defer cleanup()
	for {
		syncContext.Sync()
		phase, message, results := syncContext.GetState()
		if phase.Completed() {
			if phase.Successful() {
				return nil
			}
			for _, result := range results {
				message += fmt.Sprintf("\n%s: %s: %s", result.ResourceKey, result.Status, result.Message)
			}
			return fmt.Errorf("%s: %s", phase, message)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
