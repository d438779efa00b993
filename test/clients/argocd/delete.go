package main

import (
	"context"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// delete follows finalizeApplicationDeletion of Argo CD's controller, for an Application without sync waves that has the finalizer
// resources-finalizer.argocd.argoproj.io: all that is known as the Application's.
func (c *controller) delete(ctx context.Context) error {
	cluster, err := c.cluster()
	if err != nil {
		return err
	}
	defer cluster.Invalidate()
	live, err := cluster.GetManagedLiveObjs(nil, c.mine)
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	for _, object := range live {
		objects = append(objects, object)
	}
	foreground := metav1.DeletePropagationForeground
	return kube.RunAllAsync(len(objects), func(i int) error {
		object := objects[i]
		return c.kubectl.DeleteResource(ctx, c.config, object.GroupVersionKind(), object.GetName(), object.GetNamespace(), metav1.DeleteOptions{PropagationPolicy: &foreground})
	})
}
