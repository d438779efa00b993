package publish

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// TestReplicasComeToRest has two and three replicas see and miss things at random: rotations, roll-backs, an opt-in that is
// withdrawn, distrust, retirement, deletion of the CABundle; reads, watches and writes that come late or not at all, for a replica is
// frozen; restarts. Whatever happened: once it is over, a few rounds bring all of them to the same state, and then nothing is written.
func TestReplicasComeToRest(t *testing.T) {
	var cas [][]byte
	for n := range 6 {
		cas = append(cas, ca(fmt.Sprint(n)))
	}
	seed := rand.Uint64()
	for n := range 25 {
		for _, replicas := range []int{2, 3} {
			t.Run(fmt.Sprintf("seed %d, %d replicas", seed+uint64(n), replicas), func(t *testing.T) {
				t.Parallel()
				playAtRandom(t, rand.New(rand.NewPCG(seed+uint64(n), uint64(replicas))), replicas, cas)
			})
		}
	}
}

func playAtRandom(t *testing.T, random *rand.Rand, replicas int, cas [][]byte) {
	s, b, clk := &fakeSource{}, newAPI(), clocktesting.NewFakeClock(start)
	rules := cabundle.Rules{RetireAfter: time.Duration(random.IntN(2)) * time.Minute}
	s.hold(cas[0])
	all := make([]*replica, replicas)
	for i := range all {
		all[i] = newReplica(t, s, b, clk, rules)
	}
	for range 5 + random.IntN(60) {
		r := all[random.IntN(replicas)]
		switch random.IntN(13) {
		case 0, 1:
			s.hold(cas[random.IntN(len(cas))])
		case 2:
			s.hold(cas[random.IntN(len(cas))], cas[random.IntN(len(cas))])
		case 3:
			s.fail([]cabundle.Reason{cabundle.SourceNotAllowed, cabundle.SourceNotFound}[random.IntN(2)])
		case 4:
			s.mu.Lock()
			s.reading.Version++
			s.reading.Distrusted = []string{cabundle.Fingerprint(cabundle.ParseExisting(cas[random.IntN(len(cas))]).Certificates()[0])}
			s.mu.Unlock()
		case 5:
			all[random.IntN(replicas)] = newReplica(t, s, b, clk, rules)
		case 6:
			clk.Step(time.Duration(random.IntN(90)) * time.Second)
		case 7:
			if random.IntN(4) == 0 {
				_ = b.Delete(t.Context(), b.object())
			}
			if all := b.shards.All(); random.IntN(4) == 0 && len(all) > 0 {
				_ = b.shards.Delete(t.Context(), all[random.IntN(len(all))])
			}
		case 8, 9:
			r.read(t)
		case 10:
			r.watch()
		default:
			r.publish(t)
		}
	}
	// All is over. What each has seen as gone for the first time retires a minute later.
	for range 2 {
		comeToRest(t, b, clk, all)
		clk.Step(2 * time.Minute)
	}
	comeToRest(t, b, clk, all)
	quiet := b.writes()
	for range 5 {
		clk.Step(31 * time.Second)
		for _, r := range all {
			r.watch()
			r.read(t)
			r.publish(t)
		}
	}
	if b.writes() != quiet {
		t.Errorf("%d writes while nothing happened", b.writes()-quiet)
	}
	stored := b.entry(t, source)
	for i, r := range all {
		if diff := cmp.Diff(stored.History.Verdicts(), r.ledger.Latest(source).History.Verdicts()); diff != "" {
			t.Errorf("replica %d has other verdicts: %s", i, diff)
		}
		published := r.ledger.Latest(source).History.Bundle(clk.Now())
		if diff := cmp.Diff(stored.Published.CABundle, cabundle.Published{}.Next(published, true).CABundle); diff != "" {
			t.Errorf("replica %d would publish something else", i)
		}
	}
	if s.reading.Problem == nil {
		for _, certificate := range s.reading.Bundle.Certificates() {
			if !stored.History.Distrusted(certificate) && !stored.Published.Bundle().Holds(certificate) {
				t.Errorf("%s of the source is not published", certificate.Subject)
			}
		}
	}
}

// comeToRest has all replicas look until they write no more.
func comeToRest(t *testing.T, b *api, clk *clocktesting.FakeClock, all []*replica) {
	t.Helper()
	for round, before := 0, -1; b.writes() != before; round++ {
		if round > 10 {
			t.Fatalf("they still write after %d rounds", round)
		}
		before = b.writes()
		for _, r := range all {
			clk.Step(time.Second)
			r.watch()
			r.read(t)
			r.publish(t)
		}
	}
}

// object returns the stored CABundle, or an empty one of its name.
func (f *fakeBundles) object() *v1alpha1.CABundle {
	if object := f.stored(); object != nil {
		return object
	}
	object := &v1alpha1.CABundle{}
	object.Name = source.PublishedName()
	return object
}
