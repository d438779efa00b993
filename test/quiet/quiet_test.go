// Package quiet lets things change around one, two and three caject, and then nothing: once all targets are right, the API
// server's audit log must show no write of caject's but that of its Lease, and of each source one read per replica and interval.
// Replicas that do not agree on what to publish write for ever, and no target shows it.
//
// All scenarios of one world, each with a source and targets of its own, share one quiet span. QUIET_SPAN is how long it takes,
// QUIET_REPLICAS for how many replicas, such as "2" or "1 2 3".
package quiet

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial/trialtest"
)

const (
	// patience is how long anything may take; no test is about time.
	patience = 30 * time.Second
	// interval is the replicas' --resync-interval.
	interval = 5 * time.Second
	// calm is for how long nothing is written before the quiet span begins, and restless how long that may take to come: then
	// it begins all the same, and shows why.
	calm, restless = 2 * interval, time.Minute
)

// binary is caject, built with the race detector.
var binary string

func TestMain(m *testing.M) { trialtest.Main(m, &binary) }

// span is how long nothing changes.
func span(t *testing.T) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(cmp.Or(os.Getenv("QUIET_SPAN"), "30s"))
	if err != nil || d < interval {
		t.Fatalf("QUIET_SPAN is %q, not a duration from %s", os.Getenv("QUIET_SPAN"), interval)
	}
	return d
}

// replicas are the numbers of replicas that are tried.
func replicas(t *testing.T) (numbers []int) {
	t.Helper()
	for _, field := range strings.Fields(cmp.Or(os.Getenv("QUIET_REPLICAS"), "1 2 3")) {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			t.Fatalf("QUIET_REPLICAS is %q, not numbers from 1", os.Getenv("QUIET_REPLICAS"))
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// TestQuietMinutes is all of it, but for what needs another chart value.
func TestQuietMinutes(t *testing.T) {
	t.Parallel()
	quietMinutes(t, replicas(t), faults, slices.Concat(rotations, withdrawals, distrust, publications))
}

// TestQuietMinutesAfterRetirement is about certificates that are retired three seconds after they have left their source.
func TestQuietMinutesAfterRetirement(t *testing.T) {
	t.Parallel()
	quietMinutes(t, replicas(t), retirementFaults, retirements, "cabundles.retireAfter=3s")
}

// TestQuietMinutesOfADistrustfulAdministrator is about a certificate that the administrator has named in the chart's values. The
// largest number of replicas will do.
func TestQuietMinutesOfADistrustfulAdministrator(t *testing.T) {
	t.Parallel()
	leaked := playground.NewCA("leaked")
	quietMinutes(t, []int{slices.Max(replicas(t))}, nil, administrators(leaked), "distrust={"+fingerprint(leaked)+"}")
}

// quietMinutes plays scenarios with each number of replicas, faulty ones one after the other and then the others side by side, has a
// quiet span follow, and prints a table. The faulty ones come first, for a replica that is started again may have forgotten what
// it did not agree on with the others.
func quietMinutes(t *testing.T, numbers []int, faulty, scenarios []scenario, values ...string) {
	t.Helper()
	var mu sync.Mutex
	rows := map[int]row{}
	t.Run("replicas", func(t *testing.T) {
		for _, n := range numbers {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, n, values...)
				r := s.minutes(t, faulty, scenarios)
				mu.Lock()
				defer mu.Unlock()
				rows[n] = r
			})
		}
	})
	printTable(t.Name(), rows)
}

// minutes plays scenarios on a stage, and looks at what follows.
func (s *stage) minutes(t *testing.T, faulty, scenarios []scenario) row {
	t.Helper()
	begin, err := s.world.Control.Mark()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faulty {
		if f.replicas <= s.replicas {
			s.play(t.Context(), f)
		}
	}
	s.playAll(t.Context(), scenarios)
	if _, err := s.leader(t.Context()); err != nil {
		t.Error(err) // one that begins to lead has something to say
	}
	quiet, err := s.world.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if err := quiet.Settle(t.Context(), s.world.Control, calm, restless); err != nil {
		t.Fatal(err)
	}
	over, err := s.world.Control.Mark()
	if err != nil {
		t.Fatal(err)
	}
	r := row{scenarios: len(s.acts)}
	if r.silence, err = quiet.Watch(t.Context(), s.world.Control, span(t)); err != nil {
		t.Error(err)
	}
	requests, err := s.world.Control.Requests(begin, over)
	if err != nil {
		t.Fatal(err)
	}
	r.writes = map[string]int{}
	for _, request := range requests {
		if playground.IsWrite(request.Verb) {
			r.writes[strings.TrimSuffix(request.Resource+"/"+request.Subresource, "/")]++
		}
	}
	s.review(t)
	return r
}

// review fails the test for whatever is not as it should be in the end.
func (s *stage) review(t *testing.T) {
	t.Helper()
	for _, a := range s.acts {
		t.Run(a.scenario.name, func(t *testing.T) {
			if a.err != nil {
				t.Error(a.err) // what it holds now would only be what it could not be brought to
			} else if err := a.finally(t.Context()); err != nil {
				t.Errorf("after the quiet span: %v", err)
			}
		})
	}
	if err := s.agree(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.alarms(t.Context()); err != nil {
		t.Error(err)
	}
	if states, err := s.census.Result(); err != nil {
		t.Error(err)
	} else {
		t.Logf("%d states of targets were looked at: none was half written, and none had lost a certificate", states)
	}
}

// row is what came of one number of replicas.
type row struct {
	scenarios int
	writes    map[string]int
	silence   playground.Silence
}

// printTable shows what was written, and that nothing was when nothing changed.
func printTable(title string, rows map[int]row) {
	fmt.Println(title)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "replicas\tscenarios\tquiet span\twrites in it\treads of one source per replica and interval, at most\twrites in the scenarios")
	for _, n := range slices.Sorted(maps.Keys(rows)) {
		r := rows[n]
		var writes []string
		for _, resource := range slices.Sorted(maps.Keys(r.writes)) {
			writes = append(writes, fmt.Sprintf("%d %s", r.writes[resource], resource))
		}
		fmt.Fprintf(table, "%d\t%d\t%s\t%d\t%.2f\t%s\n", n, r.scenarios, r.silence.Span.Round(time.Second), r.silence.Writes, r.silence.Rate, strings.Join(writes, ", "))
	}
	_ = table.Flush()
}
