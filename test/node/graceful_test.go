package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// event is something that operators do.
type event struct {
	name string
	do   func(context.Context) error
}

func (r *rig) events() []event {
	without := "policy.enabled=false"
	return []event{
		{"rollout restart", func(ctx context.Context) error { return r.restart(ctx, 2) }},
		{"helm upgrade", func(ctx context.Context) error { return r.upgrade(ctx, without, "podAnnotations.tried=yes") }},
		{"helm rollback", func(ctx context.Context) error {
			_, err := r.Helm(ctx, "rollback", "caject", "--namespace", playground.Namespace, "--wait", "--timeout", patience.String())
			return errors.Join(err, r.settled(ctx, 2))
		}},
		{"scaled to three, and back to two", func(ctx context.Context) error {
			return errors.Join(r.scale(ctx, 3), r.scale(ctx, 2))
		}},
		{"evicted, one and then the other", r.evict},
		{"the leader deleted", func(ctx context.Context) error {
			name, err := r.leader(ctx)
			if err != nil {
				return err
			}
			return r.deletePods(ctx, name)
		}},
		{"both deleted at once", func(ctx context.Context) error {
			pods, err := r.pods(ctx)
			if err != nil {
				return err
			}
			return r.deletePods(ctx, pods[0].Name, pods[1].Name)
		}},
		{"the only node drained, and uncordoned", r.drain},
		{"scaled to one, and restarted", func(ctx context.Context) error {
			if err := r.scale(ctx, 1); err != nil {
				return err
			}
			return r.restart(ctx, 1)
		}},
		{"scaled to two", func(ctx context.Context) error { return r.scale(ctx, 2) }},
	}
}

// TestNoCallFails has operators do what they do while the API server calls caject, with no policy that could fill in its place, and while
// sources are rotated: each call is answered, and each object filled in the answer.
func TestNoCallFails(t *testing.T) {
	ctx := t.Context()
	if err := cluster.upgrade(ctx, "policy.enabled=false"); err != nil {
		t.Fatal(err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "event\ttook\tcalls\tnot filled\tslowest")
	for _, e := range cluster.events() {
		t.Run(e.name, func(t *testing.T) {
			err := cluster.try(t.Context(), e, table)
			if errors.Is(err, errCallFailed) {
				// A machine that stands still for seconds fails a call, too, but not twice.
				t.Logf("once more, after: %v", err)
				err = cluster.try(t.Context(), e, table)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	cluster.end(t)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
}

var errCallFailed = errors.New("a call has failed")

// try has one event happen, while sources are rotated. The error is errCallFailed if a call failed or was not filled.
func (r *rig) try(ctx context.Context, e event, table io.Writer) error {
	var took time.Duration
	c, err := r.during(ctx, 3*time.Second, func(ctx context.Context) error {
		began := time.Now()
		defer func() { took = time.Since(began) }()
		return errors.Join(r.rotate(ctx), e.do(ctx))
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(table, "%s\t%.1f s\t%d\t%d\t%d ms\n", e.name, took.Seconds(), c.made, c.unfilled, c.slowest.Milliseconds())
	if err := r.right(ctx); err != nil {
		return err
	}
	return c.failed()
}

// restart has the Deployment replace its pods.
func (r *rig) restart(ctx context.Context, replicas int) error {
	for _, args := range [][]string{{"restart", "deployment/caject"}, {"status", "deployment/caject", "--timeout", patience.String()}} {
		if _, err := r.Kubectl(ctx, "", append([]string{"--namespace", playground.Namespace, "rollout"}, args...)...); err != nil {
			return err
		}
	}
	return r.settled(ctx, replicas)
}

func (r *rig) scale(ctx context.Context, replicas int) error {
	if _, err := r.Kubectl(ctx, "", "--namespace", playground.Namespace, "scale", "deployment/caject", fmt.Sprintf("--replicas=%d", replicas)); err != nil {
		return err
	}
	return r.settled(ctx, replicas)
}

// deletePods deletes pods, all at once, and returns once others have taken their places.
func (r *rig) deletePods(ctx context.Context, names ...string) error {
	_, err := r.Kubectl(ctx, "", append([]string{"--namespace", playground.Namespace, "delete", "pod"}, names...)...)
	if err != nil {
		return err
	}
	return r.settled(ctx, 2)
}

// evict evicts both pods. The budget refuses the second one until another has taken the place of the first.
func (r *rig) evict(ctx context.Context) error {
	if err := r.until(ctx, "one pod may be evicted", func(ctx context.Context) error {
		var budget policyv1.PodDisruptionBudget
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: playground.Namespace, Name: "caject"}, &budget); err != nil {
			return err
		}
		if budget.Status.DisruptionsAllowed != 1 || budget.Status.ObservedGeneration != budget.Generation {
			return fmt.Errorf("the budget allows %d", budget.Status.DisruptionsAllowed)
		}
		return nil
	}); err != nil {
		return err
	}
	pods, err := r.pods(ctx)
	if err != nil {
		return err
	}
	if err := r.evictOne(ctx, pods[0]); err != nil {
		return err
	}
	if err := r.evictOne(ctx, pods[1]); !apierrors.IsTooManyRequests(err) {
		return fmt.Errorf("the second eviction is not refused: %w", err)
	}
	return errors.Join(r.until(ctx, "the other pod may be evicted", func(ctx context.Context) error { return r.evictOne(ctx, pods[1]) }), r.settled(ctx, 2))
}

func (r *rig) evictOne(ctx context.Context, one pod) error {
	return r.client.SubResource("eviction").Create(ctx, &one.Pod, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: one.Namespace, Name: one.Name}})
}

// drain drains the only node: one pod goes, and the other one stays, for nothing could take its place.
func (r *rig) drain(ctx context.Context) error {
	out, err := r.Kubectl(ctx, "", "drain", Name, "--timeout=12s")
	if err == nil || !strings.Contains(out.Stderr, "Cannot evict pod") {
		return fmt.Errorf("both pods have been drained: %s%s, %w", out.Stdout, out.Stderr, err)
	}
	if _, err := r.Kubectl(ctx, "", "uncordon", Name); err != nil {
		return err
	}
	return r.settled(ctx, 2)
}
