package resync

import (
	"fmt"
	"testing"
	"time"

	"github.com/caject/caject/cabundle"
)

// TestAWiper has somebody wipe a target at a period for five minutes. The outcome is for how much of that time it was bare, and
// how often caject wrote it.
func TestAWiper(t *testing.T) {
	for sentence, test := range map[string]struct {
		target   cabundle.Target
		every    time.Duration
		bareMost time.Duration // after one wipe
		writes   int           // at most
	}{
		"every minute":                        {target, time.Minute, time.Second, 6},
		"every twenty seconds":                {target, 20 * time.Second, time.Second, 16},
		"every ten seconds":                   {target, 10 * time.Second, time.Second, 31},
		"every eight seconds":                 {target, 8 * time.Second, wipeRest, 40},
		"every second":                        {target, time.Second, wipeRest, 75},
		"a CRD, every minute":                 {crd, time.Minute, time.Second, 6},
		"a CRD, every twenty seconds":         {crd, 20 * time.Second, time.Second, 16},
		"a CRD, every ten seconds":            {crd, 10 * time.Second, time.Second, 31},
		"a CRD, every eight seconds":          {crd, 8 * time.Second, wipeRestCRD, 20},
		"a CRD, as soon as it holds anything": {crd, 100 * time.Millisecond, wipeRestCRD, 20},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.sources.set(secret, caOne)
				r.targets.make(test.target, secret)
				r.show(test.target)
				r.during(t, time.Second)
				r.targets.forget()
				bare, most, wiped := time.Duration(0), time.Duration(0), time.Now()
				const step = 200 * time.Millisecond
				for begin := time.Now(); time.Since(begin) < 5*time.Minute; {
					if time.Since(wiped) >= test.every && !r.bare(test.target) {
						wiped = time.Now()
						r.targets.put(test.target, []byte("\n"))
						r.changed(test.target)
					}
					r.during(t, step)
					if bare += step; !r.bare(test.target) {
						bare = 0
					}
					most = max(most, bare)
				}
				if most > test.bareMost {
					t.Errorf("it was bare for %v", most)
				}
				if r.targets.patches > test.writes {
					t.Errorf("%d writes", r.targets.patches)
				}
			})
		})
	}
}

// TestAWiperAndAReplicaThatFollows has somebody wipe a target while another replica leads: it fills the target after its rest, and this one
// leaves it to that. If nobody leads, this one fills it.
func TestAWiperAndAReplicaThatFollows(t *testing.T) {
	for sentence, test := range map[string]struct {
		led      bool
		bareMost time.Duration
		writes   int // of this one, at most
	}{
		"which leads":                 {true, wipeRest + time.Second, 1},
		"which was to lead, but dies": {false, wipeRest + 2*followAfter, 14},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.filled(t)
				r.leads = false
				r.targets.forget()
				bareSince, most := time.Now(), time.Duration(0)
				for begin := time.Now(); time.Since(begin) < time.Minute; {
					switch bare := r.bare(target); {
					case !bare:
						r.pass(time.Second) // and it is wiped again
						r.wipe("other")
						bareSince = time.Now()
					case test.led && time.Since(bareSince) >= wipeRest-time.Second:
						r.targets.put(target, caOne)
						r.changed(target)
					}
					r.during(t, 200*time.Millisecond)
					if r.bare(target) {
						most = max(most, time.Since(bareSince))
					}
				}
				if most > test.bareMost {
					t.Errorf("it was bare for %v", most)
				}
				if r.targets.patches > test.writes {
					t.Errorf("%d writes", r.targets.patches)
				}
			})
		})
	}
}

// TestAFighterWhoWipesToo is told both.
func TestAFighterWhoWipesToo(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		for range contestedAfter {
			r.wipe("other")
			r.during(t, wipeRest)
		}
		r.expectEvent(t, "keeps emptying the caBundle")
		r.fight(t, "other")
		r.expectEvent(t, "keeps changing the caBundle back")
		for range 3 {
			r.wipe("other")
			r.during(t, wipeRest)
			r.fight(t, "other")
		}
		r.expectEvent(t, "")
	})
}

// bare reports whether target holds no certificate.
func (r *rig) bare(target cabundle.Target) bool {
	return cabundle.ParseExisting([]byte(r.targets.held(target))).Empty()
}

func TestAWiperIsNamed(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		for range contestedAfter {
			r.pass(9 * time.Second)
			r.wipe("argocd-controller")
			r.during(t, wipeRest)
			r.expect(t, caOne)
		}
		r.expectEvent(t, `Warning TargetContested field manager "argocd-controller" keeps emptying the caBundle; caject fills it again, every 5s at most`)
		r.expectContest(t, "argocd-controller")
	})
}

// TestAWipeAmidAFight: caject waits before it writes over certificates of somebody else, but not before it fills what holds none.
func TestAWipeAmidAFight(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.filled(t)
		for range 12 {
			r.fight(t, "other")
		}
		r.undo("other")
		r.during(t, wipeRest)
		r.expect(t, caRival)
		r.wipe("other")
		r.during(t, wipeRest+time.Second)
		r.expect(t, caOne)
	})
}

// TestManyThatAreWiped share what is spent on them.
func TestManyThatAreWiped(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		const n = 200
		r.sources.set(secret, caOne)
		all := make([]cabundle.Target, n)
		for i := range all {
			all[i] = cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: fmt.Sprint("many", i)}
			r.targets.make(all[i], secret)
			r.show(all[i])
		}
		r.during(t, time.Second)
		r.targets.forget()
		const span = time.Minute
		for begin := time.Now(); time.Since(begin) < span; {
			for _, one := range all {
				if !r.bare(one) {
					r.targets.put(one, []byte("\n"))
					r.changed(one)
				}
			}
			r.during(t, time.Second)
		}
		if most := int(span.Seconds())*refillsPerSecond + refillBurst + 3*n; r.targets.patches > most || r.targets.patches < most/2 {
			t.Errorf("%d writes, %d at most", r.targets.patches, most)
		}
	})
}
