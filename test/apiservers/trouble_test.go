package apiservers

import (
	"context"
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/caject/caject/test/playground"
)

// trouble is what happens to one API server for a while.
type trouble struct {
	name       string
	begin, end func(context.Context, *playground.APIServer) error
	// lasts is how long it does, at least; it goes on until all is right in spite of it.
	lasts time.Duration
	// away says that the admin cannot write through it meanwhile.
	away bool
}

var troubles = []trouble{
	{name: "well"},
	by("slow: 300 ms each way", 5*time.Second, playground.Slow),
	by("silent for 10 s or more: the balancer has not noticed", 10*time.Second, playground.Silent),
	by("refuses connections: the balancer has not noticed", 5*time.Second, playground.Refused),
	{
		name: "taken out by the balancer", lasts: time.Second,
		begin: always((*playground.APIServer).TakeOut), end: always((*playground.APIServer).PutBack),
	},
	{
		name: "2 s behind etcd", lasts: 8 * time.Second,
		begin: always(func(s *playground.APIServer) { s.SetLag(2 * time.Second) }), end: always(func(s *playground.APIServer) { s.SetLag(0) }),
	},
	{
		name: "frozen (SIGSTOP)", lasts: 5 * time.Second, away: true,
		begin: ever((*playground.APIServer).Freeze), end: ever((*playground.APIServer).Thaw),
	},
	{
		name: "killed, started again", lasts: 2 * time.Second, away: true,
		begin: ever((*playground.APIServer).Kill), end: func(ctx context.Context, s *playground.APIServer) error { return s.Start(ctx) },
	},
}

// by is a trouble of the way that the balancer has to an API server.
func by(name string, lasts time.Duration, way playground.Way) trouble {
	set := func(w playground.Way) func(context.Context, *playground.APIServer) error {
		return always(func(s *playground.APIServer) { s.SetWay(w) })
	}
	return trouble{name: name, lasts: lasts, begin: set(way), end: set(playground.Open)}
}

func always(do func(*playground.APIServer)) func(context.Context, *playground.APIServer) error {
	return func(_ context.Context, s *playground.APIServer) error { do(s); return nil }
}

func ever(do func(*playground.APIServer) error) func(context.Context, *playground.APIServer) error {
	return func(_ context.Context, s *playground.APIServer) error { return do(s) }
}

// row is what came of one trouble: how long it took from its beginning, and from its end, to change things and to have all right.
type row struct{ meanwhile, after time.Duration }

// tryAll has each trouble happen to the API server that all replicas are connected to, and nothing change for span after it.
func (r *rig) tryAll(t *testing.T, span time.Duration) []row {
	rows := make([]row, len(troubles))
	for i, trouble := range troubles {
		well := true
		t.Run(trouble.name, func(t *testing.T) {
			if well = r.try(t, trouble, &rows[i]); well && span > 0 {
				r.quiet(t, span)
			}
		})
		if !well {
			t.Fatal("what follows would be about a world that is not well")
		}
	}
	return rows
}

func printTable(rows []row) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "one of the API servers is\tall right meanwhile after\tand once it is over after")
	for i, trouble := range troubles {
		fmt.Fprintf(table, "%s\t%.1f s\t%.1f s\n", trouble.name, rows[i].meanwhile.Seconds(), rows[i].after.Seconds())
	}
	_ = table.Flush()
}

// spanOfEach is how long nothing changes after each trouble; 0 says that this is looked at once.
func spanOfEach(t *testing.T) time.Duration {
	t.Helper()
	text, ok := os.LookupEnv("APISERVERS_SPAN")
	if !ok {
		return 0
	}
	span, err := time.ParseDuration(text)
	if err != nil || span < time.Second {
		t.Fatalf("APISERVERS_SPAN is %q, not a duration from a second", text)
	}
	return span
}

// try has one trouble happen, with changes meanwhile and afterwards. It returns whether all is right in the end.
func (r *rig) try(t *testing.T, trouble trouble, row *row) bool {
	ctx := t.Context()
	last := r.last()
	if err := r.APIServers.Gather(ctx, last, replicas); err != nil {
		t.Fatal(err)
	}
	over, began := time.After(trouble.lasts), time.Now()
	if trouble.begin != nil {
		if err := trouble.begin(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
	through := r.Clients
	if trouble.away {
		through = through[:len(through)-1]
	}
	err := r.changed(ctx, through)
	if row.meanwhile = time.Since(began); err != nil {
		t.Errorf("meanwhile: %v", err)
	}
	<-over
	if trouble.end != nil {
		if err := trouble.end(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
	ended := time.Now()
	err = r.changed(ctx, r.Clients)
	if row.after = time.Since(ended); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	t.Logf("all right after %s meanwhile, and %s afterwards", row.meanwhile.Round(time.Millisecond), row.after.Round(time.Millisecond))
	return err == nil
}
