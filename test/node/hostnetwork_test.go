package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// TestHostNetwork has the pods use the node's network, on ports of their own: the API server reaches the one that can be there through the
// Service, and a rollout replaces it although the port is taken. A second one waits for a node; so does a rollout, and the first one serves.
func TestHostNetwork(t *testing.T) {
	ctx := t.Context()
	values := []string{"policy.enabled=false", "hostNetwork=true", "webhook.port=10443", "health.port=10440", "metrics.port=10402", "replicaCount=1"}
	cluster.enforce(t, "privileged") // what is restricted has a network of its own
	if err := cluster.upgradeTo(ctx, 1, values...); err != nil {
		t.Fatal(err)
	}
	before := cluster.onTheNode(t)
	if filled, err := cluster.call(ctx, 0); err != nil || !filled {
		t.Errorf("a call: filled is %t, %v", filled, err)
	}
	if _, err := cluster.Helm(ctx, "test", "caject", "--namespace", playground.Namespace, "--timeout", patience.String()); err != nil {
		t.Error(err)
	}
	if _, err := cluster.Kubectl(ctx, "", "--namespace", playground.Namespace, "delete", "pod", "caject-selftest"); err != nil {
		t.Error(err)
	}
	if err := cluster.restart(ctx, 1); err != nil {
		t.Fatal(err)
	}
	after := cluster.onTheNode(t)
	if after.Name == before.Name {
		t.Error("the pod has not been replaced")
	}
	if err := errors.Join(cluster.rotate(ctx), cluster.right(ctx)); err != nil {
		t.Error(err)
	}

	two := append(slices.Clone(values), "replicaCount=2")
	for _, tried := range []string{"no", "yes"} {
		if _, err := cluster.Helm(ctx, cluster.upgradeArgs(append(two, "podAnnotations.tried="+tried)...)...); err != nil {
			t.Fatal(err)
		}
		if err := cluster.until(ctx, "a pod waits for a node", func(ctx context.Context) error { return cluster.waits(ctx, tried) }); err != nil {
			t.Fatal(err)
		}
	}
	if filled, err := cluster.call(ctx, 1); err != nil || !filled {
		t.Errorf("a call while a pod waits: filled is %t, %v", filled, err)
	}
	if err := cluster.upgradeTo(ctx, 1, append(values, "podAnnotations.tried=yes")...); err != nil {
		t.Fatal(err)
	}
	if last := cluster.onTheNode(t); last.Annotations["tried"] != "yes" {
		t.Error("the last rollout did not end")
	}
	if err := cluster.upgrade(ctx); err != nil {
		t.Fatal(err)
	}
	cluster.enforce(t, "restricted")
	if _, err := cluster.census.Result(); err != nil {
		t.Error(err)
	}
}

// enforce has the namespace admit pods of a level of the Pod Security Standards.
func (r *rig) enforce(t *testing.T, level string) {
	t.Helper()
	if _, err := r.Kubectl(t.Context(), "", "label", "--overwrite", "namespace", playground.Namespace, "pod-security.kubernetes.io/enforce="+level); err != nil {
		t.Fatal(err)
	}
}

// onTheNode returns the only pod. It fails the test unless that has the node's address.
func (r *rig) onTheNode(t *testing.T) pod {
	t.Helper()
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(pods) != 1 || pods[0].Status.PodIP != r.addresses.node.Addr().String() {
		t.Fatalf("%d pods, and not at the node's address: %+v", len(pods), pods)
	}
	return pods[0]
}

// waits returns an error unless one pod is ready, and another one, with an annotation, finds no node with free ports.
func (r *rig) waits(ctx context.Context, tried string) error {
	var list corev1.PodList
	if err := r.client.List(ctx, &list, client.InNamespace(playground.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "caject"}); err != nil {
		return err
	}
	ready, waiting := 0, 0
	for _, one := range list.Items {
		if isReady(one) {
			ready++
		}
		for _, condition := range one.Status.Conditions {
			if condition.Reason == corev1.PodReasonUnschedulable && one.Annotations["tried"] == tried && strings.Contains(condition.Message, "free ports") {
				waiting++
			}
		}
	}
	if ready != 1 || waiting != 1 {
		return fmt.Errorf("of %d pods %d are ready, and %d wait for a node", len(list.Items), ready, waiting)
	}
	return nil
}
