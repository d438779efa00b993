package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/caject/caject/test/playground"
)

// fault is something that goes wrong, and what it may cost.
type fault struct {
	name string
	do   func(context.Context) error
	// lasts is for how long calls go on afterwards.
	lasts time.Duration
	// bound is how long after do has returned the last call that is not filled may begin. It is what was measured, and much more.
	bound time.Duration
	// silent says that no call may fail.
	silent bool
}

func (r *rig) faults() []fault {
	return []fault{
		{name: "one of two killed (SIGKILL)", do: func(ctx context.Context) error { return r.signal(ctx, syscall.SIGKILL, 1) }, lasts: 8 * time.Second, bound: 20 * time.Second},
		{name: "both killed (SIGKILL)", do: func(ctx context.Context) error { return r.signal(ctx, syscall.SIGKILL, 2) }, lasts: 15 * time.Second, bound: 40 * time.Second},
		{name: "one of two frozen (SIGSTOP)", do: func(ctx context.Context) error { return r.signal(ctx, syscall.SIGSTOP, 1) }, lasts: 45 * time.Second, bound: 40 * time.Second},
		{name: "one pod's network cut", do: r.cutNetwork, lasts: 30 * time.Second, bound: 40 * time.Second},
		{name: "kubelet killed, started after 5 s", do: func(ctx context.Context) error { return r.away(ctx, kubelet) }, lasts: 5 * time.Second, silent: true},
		{name: "containerd killed, started after 5 s", do: func(ctx context.Context) error { return r.away(ctx, containerd) }, lasts: 5 * time.Second, silent: true},
		{name: "power cut, on again", do: r.powerCut, lasts: 60 * time.Second, bound: 100 * time.Second},
	}
}

// TestFaults has things go wrong on the node while the API server calls caject, with no policy that could fill in its place, and while
// sources are rotated. All calls are answered; those that are not filled are counted, and filled by resync were they stored.
func TestFaults(t *testing.T) {
	ctx := t.Context()
	if err := cluster.upgrade(ctx, "policy.enabled=false"); err != nil {
		t.Fatal(err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\tcalls\tnot filled\tfor\tslowest\tall right after")
	for _, f := range cluster.faults() {
		t.Run(f.name, func(t *testing.T) {
			ctx := t.Context()
			var done time.Time
			c, err := cluster.during(ctx, f.lasts, func(ctx context.Context) error {
				err := errors.Join(cluster.rotate(ctx), f.do(ctx))
				done = time.Now()
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := cluster.right(ctx); err != nil {
				t.Error(err)
			}
			right := max(0, cluster.census.LastFilled().Sub(done))
			unfilled := max(0, c.lastUnfilled.Sub(done))
			fmt.Fprintf(table, "%s\t%d\t%d\t%.1f s\t%d ms\t%.1f s\n", f.name, c.made, c.unfilled+len(c.errs), unfilled.Seconds(), c.slowest.Milliseconds(), right.Seconds())
			if f.silent && c.unfilled+c.failedOpen > 0 {
				t.Errorf("%d of %d calls failed open, %d were not filled", c.failedOpen, c.made, c.unfilled)
			}
			if unfilled > f.bound {
				t.Errorf("a call was not filled after %s", unfilled)
			}
			if err := cluster.settled(ctx, 2); err != nil {
				t.Fatal(err)
			}
		})
	}
	cluster.end(t)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
}

// signal sends a signal to so many of caject's processes, first to the one that is called.
func (r *rig) signal(ctx context.Context, s syscall.Signal, n int) error {
	pods, err := r.byCalls(ctx)
	if err != nil {
		return err
	}
	for _, one := range pods[:n] {
		if one.pid == 0 {
			return fmt.Errorf("no process of %s is to be found", one.Name)
		}
		if err := syscall.Kill(one.pid, s); err != nil {
			return err
		}
	}
	return nil
}

// byCalls returns the pods, first the one that the API server calls now: it keeps its connections.
func (r *rig) byCalls(ctx context.Context) ([]pod, error) {
	pods, err := r.pods(ctx)
	if err != nil {
		return nil, err
	}
	calls := map[string]float64{}
	count := func(sign float64) error {
		for _, one := range pods {
			families, err := playground.MetricsAt(ctx, http.DefaultClient, "http://"+net.JoinHostPort(one.Status.PodIP, "9402")+"/metrics")
			if err != nil {
				return err
			}
			for _, metric := range families["controller_runtime_webhook_requests_total"].GetMetric() {
				calls[one.Name] += sign * metric.Counter.GetValue()
			}
		}
		return nil
	}
	if err := errors.Join(count(-1), playground.Sleep(ctx, time.Second), count(1)); err != nil {
		return nil, err
	}
	slices.SortFunc(pods, func(a, b pod) int { return cmp.Compare(calls[b.Name], calls[a.Name]) })
	return pods, nil
}

// cutNetwork takes away the interface of the pod that is called, without a word to anybody, and deletes the pod after a while.
func (r *rig) cutNetwork(ctx context.Context) error {
	pods, err := r.byCalls(ctx)
	if err != nil {
		return err
	}
	if _, err := r.Exec(ctx, "nsenter", "--target", strconv.Itoa(pods[0].pid), "--net", "ip", "link", "set", "eth0", "down"); err != nil {
		return err
	}
	if err := playground.Sleep(ctx, 20*time.Second); err != nil {
		return err
	}
	_, err = r.Kubectl(ctx, "", "--namespace", playground.Namespace, "delete", "pod", pods[0].Name, "--wait=false")
	return err
}

// away kills one of the node's programs, and starts it again.
func (r *rig) away(ctx context.Context, program string) error {
	if err := r.KillProgram(program); err != nil {
		return err
	}
	if err := playground.Sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	return r.StartProgram(ctx, program)
}

// powerCut ends all that runs, and starts it again.
func (r *rig) powerCut(ctx context.Context) error {
	if err := r.CutPower(); err != nil {
		return err
	}
	return r.PowerOn(ctx)
}
