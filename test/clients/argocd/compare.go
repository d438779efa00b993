package main

import (
	"fmt"
	"io"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	resourceutil "github.com/argoproj/argo-cd/gitops-engine/pkg/sync/resource"
	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	argodiff "github.com/argoproj/argo-cd/v3/util/argo/diff"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// compare follows CompareAppState of Argo CD's controller, from the reconciliation to the verdict on each object.
func (c *controller) compare(state sync.ReconciliationResult, stdout io.Writer) error {
	_, parser, err := c.kubectl.LoadOpenAPISchema(c.config)
	if err != nil {
		return err
	}
	applier, cleanup, err := c.kubectl.ManageServerSideDiffDryRuns(c.config)
	if err != nil {
		return err
	}
	defer cleanup()
	config, err := argodiff.NewDiffConfigBuilder().
		WithDiffSettings(c.app.Spec.IgnoreDifferences, systemOverrides(), false, normalizers.IgnoreNormalizerOpts{}).
		WithTracking(common.LabelKeyAppInstance, string(v1alpha1.TrackingMethodAnnotation)).
		WithNoCache().
		WithIgnoreMutationWebhook(!c.compareOption("IncludeMutationWebhook=true")).
		WithGVKParser(parser).
		WithManager(common.ArgoCDSSAManager).
		WithServerSideDiff(c.compareOption("ServerSideDiff=true")).
		WithServerSideDryRunner(diff.NewK8sServerSideDryRunner(applier)).
		WithStructuredMergeDiff(c.syncOption("ServerSideApply=true")).
		Build()
	if err != nil {
		return err
	}
	result, err := argodiff.StateDiffs(state.Live, state.Target, config)
	if err != nil {
		return err
	}
	for i, target := range state.Target {
		verdict := "Synced"
		if state.Live[i] == nil {
			verdict = "OutOfSync: it is not there"
		} else if d := result.Diffs[i]; d.Modified {
			patch, err := jsonpatch.CreateMergePatch(d.NormalizedLive, d.PredictedLive)
			if err != nil {
				return err
			}
			verdict = "OutOfSync: " + string(patch)
		}
		fmt.Fprintln(stdout, target.GetKind(), target.GetName(), verdict)
	}
	return nil
}

// systemOverrides are what Argo CD has when its ConfigMap says nothing: status is ignored.
func systemOverrides() map[string]v1alpha1.ResourceOverride {
	return map[string]v1alpha1.ResourceOverride{
		"*/*": {IgnoreDifferences: v1alpha1.OverrideIgnoreDiff{JSONPointers: []string{"/status"}}},
	}
}

func (c *controller) compareOption(option string) bool {
	return resourceutil.HasAnnotationOption(&c.app, common.AnnotationCompareOptions, option)
}

func (c *controller) syncOption(option string) bool {
	return c.app.Spec.SyncPolicy != nil && c.app.Spec.SyncPolicy.SyncOptions.HasOption(option)
}
