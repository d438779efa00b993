package ledger

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

// TestReplicasComeToKnowTheSame has two or three ledgers read one source and exchange what they know of it through a store, at random:
// rotations, roll-backs, an opt-in that is withdrawn, distrust, retirement, a cluster restored from a backup, a store that is lost; replicas
// that are frozen amid a read or a write, miss what happens, or restart. Once it is over they come to the same bundle, and nobody writes or
// tells any more. LEDGER_SEED=NUMBER plays the same again.
func TestReplicasComeToKnowTheSame(t *testing.T) {
	seed, games := rand.Uint64(), 100
	if given, err := strconv.ParseUint(os.Getenv("LEDGER_SEED"), 10, 64); err == nil {
		seed, games = given, 1
	}
	for n := range games {
		t.Run(fmt.Sprintf("LEDGER_SEED=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newGame(t, seed).play() })
		})
		seed += uint64(n) + 1
	}
}

// game is a cluster with some replicas, and what is stored of the source that all of them read.
type game struct {
	t        *testing.T
	random   *rand.Rand
	rules    cabundle.Rules
	cluster  *fakeCluster
	replicas []*replica

	stored cabundle.History
	writes int // it is also the version of stored
}

// replica is one that knows the source by its ledger.
type replica struct {
	*rig
	game   *game
	ice    ice
	wants  cabundle.History // what it was about to write when it was frozen
	basis  int              // the version of what it would replace
	writes bool             // it was about to
}

func newGame(t *testing.T, seed uint64) *game {
	g := &game{t: t, random: rand.New(rand.NewPCG(seed, 0)), cluster: newFakeCluster(t)}
	g.rules.RetireAfter = time.Duration(g.random.IntN(2)) * time.Minute
	if g.random.IntN(4) == 0 {
		g.rules.Distrusted = fingerprints("0")
	}
	g.change()
	for range 2 + g.random.IntN(2) {
		r := &replica{game: g}
		r.restart()
		g.replicas = append(g.replicas, r)
	}
	return g
}

func (r *replica) restart() {
	r.wake()
	r.rig = newRig(r.game.t, r.game.rules)
	r.Ledger.sources = r
	r.Follow(source)
	r.writes = false
}

// Read has the reads of a frozen replica end when it runs again.
func (r *replica) Read(ctx context.Context, ref cabundle.Reference, f cluster.Freshness) cabundle.Reading {
	reading := r.game.cluster.Read(ctx, ref, f)
	r.ice.wait()
	return reading
}

// wake has the replica run again, if it is frozen.
func (r *replica) wake() {
	r.ice.melt()
	synctest.Wait()
}

// ice is what a frozen replica waits for.
type ice struct {
	mu     sync.Mutex
	melted chan struct{} // nil if there is none
}

func (i *ice) form() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.melted = make(chan struct{})
}

func (i *ice) melt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.melted != nil {
		close(i.melted)
		i.melted = nil
	}
}

func (i *ice) there() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.melted != nil
}

func (i *ice) wait() {
	i.mu.Lock()
	melted := i.melted
	i.mu.Unlock()
	if melted != nil {
		<-melted
	}
}

// play lets things happen, and then sees that all come to rest.
func (g *game) play() {
	for range 5 + g.random.IntN(60) {
		g.step()
		synctest.Wait()
	}
	for _, r := range g.replicas {
		r.wake()
		r.write()
	}
	g.comeToRest()
	time.Sleep(2 * time.Minute) // what was first seen as gone only now retires
	g.comeToRest()
	g.agree()
}

func (g *game) step() {
	r := g.replicas[g.random.IntN(len(g.replicas))]
	switch g.random.IntN(12) {
	case 0, 1, 2:
		g.change()
	case 3:
		time.Sleep(time.Duration(g.random.IntN(90)) * time.Second)
	case 4:
		if g.random.IntN(4) == 0 {
			g.stored = cabundle.History{}
			g.writes++
		}
		if g.random.IntN(4) == 0 {
			g.cluster.version = max(0, g.cluster.version-20)
		}
	case 5:
		if g.random.IntN(2) == 0 {
			r.restart()
		}
	case 6:
		if r.ice.there() {
			r.wake()
			r.write()
			return
		}
		// It is frozen amid a read, or a write.
		r.ice.form()
		if g.random.IntN(2) == 0 {
			r.decide()
		}
		go r.Ledger.Read(r.ctx, source, cluster.Freshness(g.random.IntN(2)), metrics.Resync)
	case 7:
		if !r.ice.there() {
			r.know(source)
		}
	case 8:
		if !r.ice.there() {
			r.look()
		}
	case 9, 10:
		if !r.ice.there() {
			r.publish()
		}
	default:
		if !r.ice.there() {
			r.Learn(source, g.stored)
		}
	}
	time.Sleep(time.Duration(g.random.IntN(2000)) * time.Millisecond)
}

// change has the source become something else.
func (g *game) change() {
	name := func() string { return fmt.Sprint(g.random.IntN(5)) }
	reading := holds(name())
	switch g.random.IntN(8) {
	case 0:
		reading = holds(name(), name())
	case 1:
		reading = distrusting(reading, name())
	case 2:
		reading = trusting(reading, name())
	case 3:
		reading = trusting(distrusting(reading, name()), name())
	case 4:
		reasons := []cabundle.Reason{cabundle.SourceNotAllowed, cabundle.SourceNotFound, cabundle.SourceInvalid}
		reading = lacks(reasons[g.random.IntN(len(reasons))])
	}
	g.cluster.store(source, reading)
}

// look is a tick that is due.
func (r *replica) look() {
	r.tick(r.ctx, source)
}

// publish stores what is known, if that is not what is stored.
func (r *replica) publish() {
	r.decide()
	r.write()
}

// decide decides what to write.
func (r *replica) decide() {
	g := r.game
	stored := g.stored
	history, stale := r.Learn(source, stored)
	if stale && !r.ice.there() {
		r.know(source)
		history, stale = r.Learn(source, stored)
	}
	if !r.Latest(source).Consistent && !r.ice.there() {
		r.know(source)
		history, stale = r.Learn(source, stored)
	}
	if stale || !r.Latest(source).Consistent {
		return
	}
	now := time.Now()
	history, _ = history.Trim(now, cabundle.MaxSourceBytes)
	adds := history.Adds(now, stored)
	if !adds {
		history = stored.Complete(history) // what had been distrusted may be published again
	}
	r.wants, r.basis = history, g.writes
	r.writes = adds || words(history.Bundle(now)) != words(stored.Bundle(now))
}

// write writes what was decided on, unless somebody else has written meanwhile.
func (r *replica) write() {
	g := r.game
	if r.writes && r.basis == g.writes {
		g.stored = publishedOnly(r.wants)
		g.writes++
	}
	r.writes = false
}

// publishedOnly returns h as it can be read back: the certificates that are not published are known by their fingerprints alone.
func publishedOnly(h cabundle.History) cabundle.History {
	published := h.Bundle(time.Now())
	h.Known = maps.Clone(h.Known)
	for fingerprint, known := range h.Known {
		if known.Certificate != nil && !published.Holds(known.Certificate) {
			known.Certificate = nil
			h.Known[fingerprint] = known
		}
	}
	return h
}

// round has each replica see what is stored, tick and publish.
func (g *game) round() {
	for _, r := range g.replicas {
		r.Learn(source, g.stored)
		synctest.Wait()
		r.look()
		synctest.Wait()
		r.publish()
		synctest.Wait()
		time.Sleep(time.Second)
	}
}

func (g *game) comeToRest() {
	for rounds, before := 0, -1; before != g.writes; rounds++ {
		if rounds > 10 {
			g.t.Fatalf("they still write after %d rounds", rounds)
		}
		before = g.writes
		g.round()
	}
}

// agree sees that all is at rest, and all know the same.
func (g *game) agree() {
	for _, r := range g.replicas {
		r.forget()
	}
	quiet := g.writes
	for range 5 {
		g.round()
		time.Sleep(interval)
	}
	if g.writes != quiet {
		g.t.Errorf("%d writes while nothing happens", g.writes-quiet)
	}
	now := time.Now()
	for i, r := range g.replicas {
		known := r.Latest(source)
		if heard := r.heard(source); heard > 0 {
			g.t.Errorf("replica %d has told %d times that something has changed", i, heard)
		}
		for what, of := range map[string]func(cabundle.History) string{
			"publishes": func(h cabundle.History) string { return words(h.Bundle(now)) },
			"holds": func(h cabundle.History) string { // what is distrusted need not be stored whole
				return words(cabundle.Rules{Replace: true}.Published(now, h, lacks(cabundle.SourceNotFound), h.Current()))
			},
			"unwanted": func(h cabundle.History) string { return fmt.Sprint(h.Verdicts()) },
		} {
			if diff := cmp.Diff(of(g.stored), of(known.History)); diff != "" {
				g.t.Errorf("replica %d, %s: %s", i, what, diff)
			}
		}
		if diff := cmp.Diff(words(g.cluster.stored[source].Bundle), words(known.Bundle)); known.Problem == nil && diff != "" {
			g.t.Errorf("replica %d has another reading: %s", i, diff)
		}
	}
	for _, certificate := range g.cluster.stored[source].Bundle.Certificates() {
		if !g.stored.Distrusted(certificate) && !g.stored.Bundle(now).Holds(certificate) {
			g.t.Errorf("%s of the source is not published", certificate.Subject)
		}
	}
}
