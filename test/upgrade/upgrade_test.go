// Package upgrade has a kube-apiserver of another version take over the same etcd while caject runs, targets are created and sources
// rotated: newer ones, and older ones again. After each step the chart is upgraded, and caject rolled, as an operator does.
//
// UPGRADE_PATH are the versions, such as "1.30 1.36 current"; without it, the oldest and the current one. UPGRADE_SPAN is for how long nothing
// may be written after each step.
package upgrade

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial/trialtest"
)

const (
	// replicas is how many caject run: the chart's default.
	replicas = 2
	// interval is the resync's.
	interval = 5 * time.Second
	// timeout is generous: no test is about time. Policies fill half a minute after the start of an API server.
	timeout = 90 * time.Second
	// calm and restless are for Settle.
	calm, restless = 7 * time.Second, time.Minute
)

// program is caject, built with the race detector.
var program string

func TestMain(m *testing.M) { trialtest.Main(m, &program) }

// TestUpgrade goes from version to version.
func TestUpgrade(t *testing.T) {
	path := strings.Fields(os.Getenv("UPGRADE_PATH"))
	if len(path) == 0 {
		path = []string{"1.30", playground.Current}
	}
	r := newRig(t, path[0])
	before := path[0]
	for _, version := range path[1:] {
		from, to := before, version
		before = version
		if !t.Run(from+" to "+to, func(t *testing.T) { r.step(t, from, to) }) {
			return
		}
	}
	r.refused(t)
	states, err := r.census.Result()
	if err != nil {
		t.Error(err)
	}
	r.print(path, states)
}

// row is what came of one step.
type row struct {
	step        string
	away, right time.Duration // without an API server, and from its start until all targets were right
	policies    int           // the kinds that they fill in the end
	targets     int
	silence     playground.Silence
}

// step replaces the API server, and then upgrades the chart.
func (r *rig) step(t *testing.T, from, to string) {
	served := r.served(t)
	done := row{step: from + " to " + to}
	pause := r.churn(t)
	done.away = r.replace(t, to)
	pause()
	began := time.Now()
	r.right(t)
	done.right = time.Since(began)
	now := r.served(t)
	if served && !now && r.uses() {
		r.stuck(t, from, to)
	}
	r.suggested(t, now)

	pause = r.churn(t)
	r.upgrade(t)
	r.roll(t)
	pause()
	r.right(t)
	done.policies = r.policies(t, now)
	done.silence = r.quiet(t)
	done.targets = r.targets()
	r.rows = append(r.rows, done)
}

// stuck is about an API server without policies, to which the chart has come with policies. helm cannot upgrade it. The way out is one step
// forward again, an upgrade that takes them away, and then the step back.
func (r *rig) stuck(t *testing.T, from, to string) {
	t.Helper()
	err := r.world.Installation.Upgrade(t.Context(), r.world.Control, r.values()...)
	if err == nil || !strings.Contains(err.Error(), "no matches for kind") {
		t.Errorf("helm upgrade says %v", err)
	}
	r.replace(t, from)
	eventually(t, "helm upgrade --set policy.enabled=false", func(ctx context.Context) error {
		return r.world.Installation.Upgrade(ctx, r.world.Control, append(r.values(), "policy.enabled=false")...)
	})
	r.roll(t)
	r.right(t)
	r.replace(t, to)
	r.right(t)
}

func (r *rig) print(path []string, states int) {
	fmt.Printf("\nKubernetes %s, %d caject, a target created and a source rotated each second:\n\n", strings.Join(path, " -> "), replicas)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  step\taway\tall right after\tkinds that policies fill\ttargets\twrites in the quiet")
	for _, row := range r.rows {
		fmt.Fprintf(table, "  %s\t%.1f s\t%.1f s\t%d\t%d\t%d in %s\n", row.step, row.away.Seconds(), row.right.Seconds(), row.policies, row.targets,
			row.silence.Writes, row.silence.Span.Round(time.Second))
	}
	_ = table.Flush()
	fmt.Printf("\n  %d states of targets were looked at, and none was wrong.\n", states)
}
