package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// selector is that of caject's pods.
const selector = "app.kubernetes.io/name=caject"

// pod is one of caject's, and its process.
type pod struct {
	corev1.Pod
	pid int
}

// pods returns caject's that are not about to end, by age.
func (r *rig) pods(ctx context.Context) ([]pod, error) {
	var list corev1.PodList
	if err := r.client.List(ctx, &list, client.InNamespace(playground.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "caject"}); err != nil {
		return nil, err
	}
	var all []pod
	for _, one := range list.Items {
		if one.DeletionTimestamp == nil && one.Status.Phase == corev1.PodRunning {
			pids, err := r.Processes("/caject", "pod"+string(one.UID))
			if err != nil {
				return nil, err
			}
			all = append(all, pod{one, slices.Max(append(pids, 0))}) // 0 if it has none now
		}
	}
	slices.SortFunc(all, func(a, b pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return all, nil
}

// settled returns once so many pods are ready, the others gone, and the API server's calls get through: kube-proxy learns of pods a little
// after those who wait for them.
func (r *rig) settled(ctx context.Context, replicas int) error {
	if err := r.until(ctx, "caject's pods are ready", func(ctx context.Context) error {
		var list corev1.PodList
		if err := r.client.List(ctx, &list, client.InNamespace(playground.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "caject"}); err != nil {
			return err
		}
		for _, one := range list.Items {
			if one.DeletionTimestamp != nil || !isReady(one) {
				return fmt.Errorf("pod %s is %s, %v", one.Name, one.Status.Phase, one.Status.Conditions)
			}
		}
		if len(list.Items) != replicas {
			return fmt.Errorf("%d pods instead of %d", len(list.Items), replicas)
		}
		return nil
	}); err != nil {
		return err
	}
	return r.until(ctx, "caject is called", r.called)
}

func isReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// called returns an error unless the webhook answers ten calls in a row.
func (r *rig) called(ctx context.Context) error {
	before, err := r.failedOpen(ctx)
	if err != nil {
		return err
	}
	for n := range 10 {
		if _, err := r.call(ctx, n); err != nil {
			return err
		}
	}
	after, err := r.failedOpen(ctx)
	if err == nil && after != before {
		err = errors.New("the API server cannot reach caject")
	}
	return err
}

// leader returns the pod that holds the Lease.
func (r *rig) leader(ctx context.Context) (string, error) {
	var lease coordinationv1.Lease
	if err := r.client.Get(ctx, client.ObjectKey{Namespace: playground.Namespace, Name: "caject"}, &lease); err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil {
		return "", errors.New("nobody leads")
	}
	name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return name, nil
}

// usage is what the kubelet says of a pod, from its cgroup.
type usage struct {
	Pods []struct {
		PodRef struct{ Name, Namespace string }
		Memory struct{ WorkingSetBytes uint64 }
		CPU    struct {
			UsageCoreNanoSeconds uint64
			Time                 time.Time
		}
	}
}
