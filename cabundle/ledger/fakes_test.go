package ledger

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

const interval = 30 * time.Second

var source = secret(0)

func secret(n int) cabundle.Reference {
	return cabundle.Reference{Kind: cabundle.Secret, Namespace: "demo", Name: fmt.Sprintf("ca-%d", n)}
}

// secrets returns n references.
func secrets(n int) []cabundle.Reference {
	refs := make([]cabundle.Reference, n)
	for i := range refs {
		refs[i] = secret(i)
	}
	return refs
}

// In a bubble of synctest it is the year 2000.
var (
	born   = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	farOff = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
)

var (
	making sync.Mutex
	made   = map[string][]byte{} // by name
)

// ca returns the CA of the given name, always the same, in PEM.
func ca(name string) []byte { return caUntil(name, farOff) }

func caUntil(name string, end time.Time) []byte {
	making.Lock()
	defer making.Unlock()
	if made[name] == nil {
		made[name] = cabundletest.CA(name, born, end)
	}
	return made[name]
}

func bundle(names ...string) cabundle.Bundle {
	var all []byte
	for _, name := range names {
		all = append(all, ca(name)...)
	}
	return cabundle.ParseExisting(all)
}

func fingerprints(names ...string) []string {
	var all []string
	for _, certificate := range bundle(names...).Certificates() {
		all = append(all, cabundle.Fingerprint(certificate))
	}
	return all
}

// subjects returns the names of the CAs in b.
func subjects(b cabundle.Bundle) []string {
	var all []string
	for _, certificate := range b.Certificates() {
		all = append(all, certificate.Subject.CommonName)
	}
	return all
}

// holds is a reading of a source that holds the named CAs.
func holds(names ...string) cabundle.Reading { return cabundle.Reading{Bundle: bundle(names...)} }

func distrusting(r cabundle.Reading, names ...string) cabundle.Reading {
	r.Distrusted = fingerprints(names...)
	return r
}

func trusting(r cabundle.Reading, names ...string) cabundle.Reading {
	r.TrustedAgain = fingerprints(names...)
	return r
}

// lacks is a reading of a source that gives nothing.
func lacks(reason cabundle.Reason) cabundle.Reading {
	return cabundle.Reading{Problem: &cabundle.Problem{Reason: reason, Detail: "a detail"}}
}

// outageOf is the answer of an API server that is away, or one that answers with an error.
func outageOf(answered bool) cabundle.Reading {
	r := lacks(cabundle.SourceUnavailable)
	r.Problem.Answered = answered
	return r
}

// read is one that a fakeCluster was asked for.
type read struct {
	ref       cabundle.Reference
	freshness cluster.Freshness
	at        time.Time
}

// fakeCluster is the API server. What is not stored does not exist.
type fakeCluster struct {
	t *testing.T

	mu      sync.Mutex
	stored  map[cabundle.Reference]cabundle.Reading
	version int64
	behind  map[cabundle.Reference]cabundle.Reading // what the watch cache has instead, if it is behind
	fails   map[cabundle.Reference]cabundle.Reading // the outage that a source meets
	down    bool                                    // it does not answer, and says so at once
	latency time.Duration                           // of each read
	hangs   chan struct{}                           // if set, reads end when it is closed, whatever their contexts say
	reads   []read
	now     map[cabundle.Reference]int
	active  int
	most    int
}

func newFakeCluster(t *testing.T) *fakeCluster {
	return &fakeCluster{
		t:      t,
		stored: map[cabundle.Reference]cabundle.Reading{},
		behind: map[cabundle.Reference]cabundle.Reading{},
		fails:  map[cabundle.Reference]cabundle.Reading{},
		now:    map[cabundle.Reference]int{},
	}
}

// store stores a source, with a version of its own.
func (c *fakeCluster) store(ref cabundle.Reference, r cabundle.Reading) {
	c.set(func() {
		c.version++
		r.Version = c.version
		c.stored[ref] = r
	})
}

// set changes fields of c.
func (c *fakeCluster) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// goAway has nobody answer until comeBack.
func (c *fakeCluster) goAway()   { c.set(func() { c.down = true }) }
func (c *fakeCluster) comeBack() { c.set(func() { c.down = false }) }

// lag has the watch cache hold r in place of what source is.
func (c *fakeCluster) lag(r cabundle.Reading) { c.set(func() { c.behind[source] = r }) }

// Read returns what is stored when it begins: the oldest state that a consistent read may give.
func (c *fakeCluster) Read(ctx context.Context, ref cabundle.Reference, freshness cluster.Freshness) cabundle.Reading {
	c.mu.Lock()
	c.reads = append(c.reads, read{ref, freshness, time.Now()})
	if c.now[ref]++; c.now[ref] > 1 {
		c.t.Errorf("two reads of %s at a time", ref)
	}
	c.active++
	c.most = max(c.most, c.active)
	reading, latency, hangs := c.answer(ref, freshness), c.latency, c.hangs
	c.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			reading = outageOf(false)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
	c.now[ref]--
	return reading
}

// answer returns what a read gives. The caller holds c.mu.
func (c *fakeCluster) answer(ref cabundle.Reference, freshness cluster.Freshness) cabundle.Reading {
	if c.down {
		return outageOf(false)
	}
	if outage, ok := c.fails[ref]; ok {
		return outage
	}
	if old, ok := c.behind[ref]; ok && freshness == cluster.Cached {
		return old
	}
	if reading, ok := c.stored[ref]; ok {
		return reading
	}
	return lacks(cabundle.SourceNotFound)
}

// asked returns the reads of ref, or all if it is the zero value, since the last call, and forgets them.
func (c *fakeCluster) asked(ref cabundle.Reference) []read {
	c.mu.Lock()
	defer c.mu.Unlock()
	var asked []read
	c.reads = slices.DeleteFunc(c.reads, func(r read) bool {
		mine := ref == cabundle.Reference{} || r.ref == ref
		if mine {
			asked = append(asked, r)
		}
		return mine
	})
	return asked
}

func freshnesses(reads []read) []cluster.Freshness {
	var all []cluster.Freshness
	for _, r := range reads {
		all = append(all, r.freshness)
	}
	return all
}

// movable is the real clock, with a jump that the test decides on. Timers do not notice.
type movable struct {
	clock.RealClock
	by *atomic.Int64
}

func (c movable) Now() time.Time                  { return c.RealClock.Now().Add(time.Duration(c.by.Load())) }
func (c movable) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// rig is a ledger in a bubble of synctest.
type rig struct {
	*Ledger
	t       *testing.T
	ctx     context.Context
	cluster *fakeCluster
	jump    *atomic.Int64 // of its clock

	mu   sync.Mutex
	told map[cabundle.Reference]int
}

func newRig(t *testing.T, rules cabundle.Rules) *rig {
	c := newFakeCluster(t)
	return newRigOf(t, rules, c)
}

// newRigOf returns a rig beside others that read the same cluster.
func newRigOf(t *testing.T, rules cabundle.Rules, c *fakeCluster) *rig {
	r := &rig{
		t: t, ctx: log.IntoContext(t.Context(), logr.Discard()), cluster: c,
		jump: &atomic.Int64{}, told: map[cabundle.Reference]int{},
	}
	counters := metrics.New(prometheus.NewRegistry())
	r.Ledger = New(Options{Interval: interval, Rules: rules}, c, counters, movable{by: r.jump})
	r.OnChange(func(ref cabundle.Reference) {
		r.Latest(ref) // it may
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told[ref]++
	})
	t.Cleanup(r.end)
	return r
}

// end waits for the reads that are under way.
func (r *rig) end() {
	r.queue.ShutDown()
	for r.flying() > 0 {
		time.Sleep(time.Second)
	}
}

// flying returns how many sources are being read, or wait for it.
func (r *rig) flying() int {
	r.Ledger.mu.Lock()
	defer r.Ledger.mu.Unlock()
	flying := 0
	for _, a := range r.accounts {
		if a.flying {
			flying++
		}
	}
	return flying
}

// start starts the ledger, until the test ends.
func (r *rig) start() *rig {
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Start(r.ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(running.Wait)
	return r
}

// started returns a ledger that runs and follows the sources, each of which was read once, consistently.
func started(t *testing.T, rules cabundle.Rules, refs ...cabundle.Reference) *rig {
	r := newRig(t, rules).start()
	for _, ref := range refs {
		r.cluster.store(ref, holds("one"))
		r.Follow(ref)
		r.know(ref)
	}
	r.forget()
	return r
}

// know has ref read consistently.
func (r *rig) know(ref cabundle.Reference) Reading {
	return r.Read(r.ctx, ref, cluster.Consistent, metrics.Resync)
}

// forget forgets what was counted.
func (r *rig) forget() {
	synctest.Wait()
	r.cluster.asked(cabundle.Reference{})
	r.heard(source)
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.told)
}

// heard returns how often the listeners were told about ref since the last call.
func (r *rig) heard(ref cabundle.Reference) int {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := r.told[ref]
	delete(r.told, ref)
	return heard
}

// changesWithin waits until the Revision of ref is not before any more, and returns how long that took.
func (r *rig) changesWithin(ref cabundle.Reference, before int, limit time.Duration) time.Duration {
	r.t.Helper()
	began := time.Now()
	for r.Revision(ref) == before {
		if time.Since(began) > limit {
			r.t.Fatalf("%s has not changed within %s", ref, limit)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}
