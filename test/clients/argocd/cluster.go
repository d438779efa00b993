package main

import (
	"context"
	"fmt"

	clustercache "github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// reconcile pairs targets with what is there. If the Application prunes, what else is the Application's is paired with nothing.
func (c *controller) reconcile(ctx context.Context, targets []*unstructured.Unstructured) (sync.ReconciliationResult, error) {
	if !c.prunes() {
		return c.pair(ctx, targets)
	}
	cluster, err := c.cluster()
	if err != nil {
		return sync.ReconciliationResult{}, err
	}
	defer cluster.Invalidate()
	live, err := cluster.GetManagedLiveObjs(targets, c.mine)
	return sync.Reconcile(targets, live, c.app.Spec.Destination.Namespace, cluster), err
}

// pair reads only what targets name: that is quick.
func (c *controller) pair(ctx context.Context, targets []*unstructured.Unstructured) (sync.ReconciliationResult, error) {
	scopes, err := c.scopes()
	if err != nil {
		return sync.ReconciliationResult{}, err
	}
	live := map[kube.ResourceKey]*unstructured.Unstructured{}
	for _, target := range targets {
		object, err := c.kubectl.GetResource(ctx, c.config, target.GroupVersionKind(), target.GetName(), target.GetNamespace())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return sync.ReconciliationResult{}, fmt.Errorf("read %s %s: %w", target.GetKind(), target.GetName(), err)
		}
		live[kube.GetResourceKey(target)] = object
	}
	return sync.Reconcile(targets, live, c.app.Spec.Destination.Namespace, scopes), nil
}

func (c *controller) prunes() bool {
	return c.app.Spec.SyncPolicy != nil && c.app.Spec.SyncPolicy.Automated.GetPrune()
}

// cluster reads all that is in the cluster, as the controller's cache does.
func (c *controller) cluster() (clustercache.ClusterCache, error) {
	cluster := clustercache.NewClusterCache(c.config,
		clustercache.SetKubectl(c.kubectl),
		clustercache.SetLogr(logr.Discard()),
		clustercache.SetSettings(clustercache.Settings{ResourcesFilter: &settings.ResourcesFilter{}}),
		clustercache.SetPopulateResourceInfoHandler(func(object *unstructured.Unstructured, isRoot bool) (any, bool) {
			if !isRoot {
				return "", kube.IsCRD(object)
			}
			app := argo.NewResourceTracking().GetAppName(object, common.LabelKeyAppInstance, v1alpha1.TrackingMethodAnnotation, "")
			return app, app != "" || kube.IsCRD(object)
		}),
	)
	return cluster, cluster.EnsureSynced()
}

// mine reports whether the cache knows an object as the Application's.
func (c *controller) mine(resource *clustercache.Resource) bool { return resource.Info == c.app.Name }

// scopes says which kinds have namespaces.
type scopes map[schema.GroupKind]bool

// IsNamespaced implements [kube.ResourceInfoProvider].
func (s scopes) IsNamespaced(kind schema.GroupKind) (bool, error) {
	namespaced, ok := s[kind]
	if !ok {
		return false, fmt.Errorf("%s is not served", kind)
	}
	return namespaced, nil
}

func (c *controller) scopes() (scopes, error) {
	served, err := c.kubectl.GetAPIResources(c.config, true, &settings.ResourcesFilter{})
	found := scopes{}
	for _, resource := range served {
		found[resource.GroupKind] = resource.Meta.Namespaced
	}
	return found, err
}
