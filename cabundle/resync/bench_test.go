package resync

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
)

// ready answers each read of a source with the same reading.
type ready struct{ reading cabundle.Reading }

func (r ready) Read(context.Context, cabundle.Reference, cluster.Freshness) cabundle.Reading {
	return r.reading
}

// large returns a Resync in which so many targets are right, and name so many sources.
func large(b *testing.B, sources, targets int) (*Resync, *ledger.Ledger, []cabundle.Reference) {
	b.Helper()
	now := time.Now()
	m := metrics.New(prometheus.NewRegistry())
	ca := cabundle.ParseExisting(cabundletest.CA("ca", now.Add(-time.Hour), now.Add(time.Hour)))
	l := ledger.New(ledger.Options{Interval: interval}, ready{cabundle.Reading{Bundle: ca, Version: 1}}, m, clock.RealClock{})
	r := New(Options{Interval: interval}, l, newFakeTargets(), record.NewFakeRecorder(1), m, clock.RealClock{})
	b.Cleanup(r.queue.ShutDown)
	refs := make([]cabundle.Reference, sources)
	for i := range refs {
		refs[i] = cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: fmt.Sprint(i)}
	}
	for i := range targets {
		target, ref := cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: fmt.Sprint(i)}, refs[i%sources]
		r.tracker.see(target, seen{uid: types.UID(target.Name), version: versionOf(1, "1", ref, false), ref: ref, at: now})
	}
	for _, ref := range refs {
		l.Read(b.Context(), ref, cluster.Consistent, metrics.Resync)
	}
	for target, s := range r.tracker.snapshot() {
		r.tracker.update(target, s.seen.uid, func(s *state) {
			s.looked = looked{version: s.seen.version, revision: l.Revision(s.seen.ref), known: true, expiry: now.Add(time.Hour)}
		})
	}
	for r.queue.Len() > 0 {
		target, _ := r.queue.Get()
		r.queue.Done(target)
	}
	return r, l, refs
}

// BenchmarkRound is an interval in which nothing changes: each source is read once, and one sweep looks for what is due. The reads
// themselves, and the parsing of what they return, are left out.
func BenchmarkRound(b *testing.B) {
	r, l, refs := large(b, 2_000, 10_000)
	before := cpu(b)
	b.ResetTimer()
	for range b.N {
		for _, ref := range refs {
			l.Read(b.Context(), ref, cluster.Cached, metrics.Resync)
		}
		r.tracker.sweep()
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "CPU-ms/round")
	if r.queue.Len() > 0 {
		b.Errorf("%d targets are due", r.queue.Len())
	}
}

// BenchmarkSweep is the part of a round that does not depend on the sources.
func BenchmarkSweep(b *testing.B) {
	r, _, _ := large(b, 2_000, 10_000)
	for b.Loop() {
		r.tracker.sweep()
	}
}

// BenchmarkHintOfASourceThatNobodyNames is what each write of any Secret in the cluster costs.
func BenchmarkHintOfASourceThatNobodyNames(b *testing.B) {
	_, l, _ := large(b, 2_000, 10_000)
	nobody := cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "nobody"}
	b.ReportAllocs()
	for b.Loop() {
		l.Hint(nobody)
	}
}

// TestAHintOfASourceThatNobodyNamesAllocatesNothing is one look-up.
func TestAHintOfASourceThatNobodyNamesAllocatesNothing(t *testing.T) {
	l := ledger.New(ledger.Options{Interval: interval}, ready{}, metrics.New(prometheus.NewRegistry()), clock.RealClock{})
	if allocated := testing.AllocsPerRun(100, func() { l.Hint(secret) }); allocated > 0 {
		t.Errorf("%v allocations", allocated)
	}
}

// cpu returns how much CPU time this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
