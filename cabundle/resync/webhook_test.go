package resync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

func TestReach(t *testing.T) {
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	type result struct {
		Counted, Said bool
		Told          int           // how often something is to be told
		Wait          time.Duration // until the next probe
	}
	not := func(times int, after ...outcome) []outcome {
		return append(slices.Repeat([]outcome{notCalled}, times), after...)
	}
	for sentence, test := range map[string]struct {
		outcomes []outcome // of probes, each made when it is due, after one miss
		want     result
	}{
		"a miss has other causes, too: a probe is due":  {nil, result{}},
		"the first probe gets through":                  {not(0, called), result{Counted: true}},
		"a later one does":                              {not(2, called), result{Counted: true}},
		"none does for a moment":                        {not(5), result{Wait: 16 * time.Second}},
		"none does for longer":                          {not(6), result{Said: true, Told: 1, Wait: 32 * time.Second}},
		"it is said once":                               {not(7), result{Said: true, Told: 1, Wait: 64 * time.Second}},
		"the wait is as long as it gets":                {not(9), result{Said: true, Told: 1, Wait: longestProbe}},
		"it works again":                                {not(6, called), result{Counted: true, Told: 2}},
		"it fails anew":                                 {append(not(6, called), not(6)...), result{Said: true, Told: 3, Wait: 32 * time.Second}},
		"the API server does not answer the probes":     {slices.Repeat([]outcome{unknown}, 7), result{Wait: 64 * time.Second}},
		"it does not answer one, after it has answered": {not(6, unknown), result{Said: true, Told: 1, Wait: 64 * time.Second}},
		"it begins anew after an outage":                {append(not(4, unknown, unknown, unknown), notCalled), result{Wait: longestProbe}},
		"nothing is known while all is well":            {not(0, called, unknown), result{Counted: true}},
	} {
		t.Run(sentence, func(t *testing.T) {
			now := begin
			r := reach{}.miss(now)
			var got result
			for _, o := range test.outcomes {
				now = now.Add(r.failed.Left(now))
				var tell bool
				if r, tell = r.probed(now, o); tell {
					got.Told++
				}
			}
			got.Counted, got.Said, got.Wait = r.counted(), r.said, r.failed.Left(now)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if later := r.miss(now.Add(time.Hour)); !r.counted() && later != r {
				t.Error("a miss in between changes something")
			}
		})
	}
}

// followed is a rig with twenty CRDs whose webhook is followed, and what is logged.
type followed struct {
	*rig
	log *bytes.Buffer
	ctx context.Context
}

const many = 20

func crdNamed(n int) cabundle.Target {
	return cabundle.Target{Kind: cabundle.CustomResourceDefinition, Name: fmt.Sprint("crd", n)}
}

// following runs body with a followed in which all targets hold caOne.
func following(t *testing.T, o Options, body func(*testing.T, *followed)) {
	t.Helper()
	o.Webhook = true
	rigged(t, o, func(t *testing.T, r *rig) {
		f := &followed{rig: r, log: &bytes.Buffer{}}
		f.ctx = log.IntoContext(t.Context(), funcr.New(func(_, args string) { fmt.Fprintln(f.log, args) }, funcr.Options{}))
		r.targets.serve(caOne, 0)
		for n := range many {
			r.targets.make(crdNamed(n), secret)
			r.targets.put(crdNamed(n), caOne)
			r.show(crdNamed(n))
		}
		r.work(t)
		r.tick(t, secret)
		r.know(t, secret)
		r.work(t)
		go r.followWebhook(f.ctx)
		synctest.Wait()
		body(t, f)
	})
}

// rotate gives the source another CA and returns how long it takes until all CRDs hold it.
func (f *followed) rotate(t *testing.T) time.Duration {
	t.Helper()
	f.sources.set(secret, caTwo)
	began := time.Now()
	f.tick(t, secret)
	f.work(t)
	for n := range many {
		f.expectOf(t, crdNamed(n), both(caOne, caTwo))
	}
	return time.Since(began)
}

func (f *followed) expectUnreached(t *testing.T, want int) {
	t.Helper()
	text := "# HELP caject_webhook_unreached 1 while the API server does not reach caject's webhook, as far as this replica has found out, else 0.\n" +
		"# TYPE caject_webhook_unreached gauge\n" + fmt.Sprintln("caject_webhook_unreached", want)
	if err := testutil.CollectAndCompare(f.Resync, strings.NewReader(text), "caject_webhook_unreached"); err != nil {
		t.Error(err)
	}
}

func (f *followed) expectLogged(t *testing.T, words string, times int) {
	t.Helper()
	if n := strings.Count(f.log.String(), words); n != times {
		t.Errorf("%q is logged %d times, not %d:\n%s", words, n, times, f.log)
	}
}

func TestAWebhookThatIsNotReached(t *testing.T) {
	for sentence, slow := range map[string]time.Duration{"calls are refused": 0, "calls do not arrive": 3 * time.Second} {
		t.Run(sentence, func(t *testing.T) {
			following(t, Options{}, func(t *testing.T, f *followed) {
				f.targets.serve(nil, slow)
				if took := f.rotate(t); took > patience {
					t.Errorf("a rotation takes %s", took)
				}
				if f.targets.readmits != 1 {
					t.Errorf("the webhook is counted on %d times", f.targets.readmits)
				}
				f.expectLogged(t, "does not reach", 0)
				f.expectUnreached(t, 0)
				f.pass(time.Hour)
				f.expectLogged(t, "does not reach the webhook", 1)
				f.expectLogged(t, unreachable, 1)
				f.expectUnreached(t, 1)
				if probes := len(f.targets.probed()); probes < 20 || probes > 60 {
					t.Errorf("%d probes in an hour", probes)
				}
				f.targets.serve(both(caOne, caTwo), 0)
				f.pass(longestProbe)
				f.expectLogged(t, "reaches the webhook again", 1)
				f.expectUnreached(t, 0)
				before := len(f.targets.probed())
				f.pass(time.Hour)
				if len(f.targets.probed()) > before || !f.countsOnWebhook(crd.Kind) {
					t.Error("it goes on probing")
				}
			})
		})
	}
}

func TestAMissWithAnotherCauseSaysNothing(t *testing.T) {
	following(t, Options{}, func(t *testing.T, f *followed) {
		f.rotate(t) // the webhook fills in something else
		f.pass(time.Hour)
		f.expectLogged(t, "reach", 0)
		if probes := len(f.targets.probed()); !f.countsOnWebhook(crd.Kind) || probes == 0 || probes > 2*many+1 {
			t.Errorf("after %d probes it is %+v", probes, f.webhook.now())
		}
	})
}

func TestHandshakesThatFailAreTheCause(t *testing.T) {
	handshakes := func() (string, string) { return "TLS handshakes fail: why", "do this" }
	following(t, Options{Handshakes: handshakes}, func(t *testing.T, f *followed) {
		f.targets.serve(nil, 0)
		f.rotate(t)
		f.pass(time.Minute)
		f.expectLogged(t, `"cause"="TLS handshakes fail: why" "remedy"="do this"`, 1)
	})
}

func TestAProbeThatIsNotAnswered(t *testing.T) {
	following(t, Options{}, func(t *testing.T, f *followed) {
		f.targets.serve(nil, 0)
		f.targets.probeErr = errors.New("connection refused")
		f.rotate(t)
		f.pass(time.Hour)
		f.expectLogged(t, "reach", 0)
		f.expectUnreached(t, 0)
	})
}

// TestAPolicyFillsAndTheWebhookIsNotReached is about targets that need nothing of the webhook, while whoever writes one waits for it.
func TestAPolicyFillsAndTheWebhookIsNotReached(t *testing.T) {
	for sentence, test := range map[string]struct {
		leads  bool
		change func(*testing.T, *followed)
		said   int
	}{
		"a target changes":      {true, func(_ *testing.T, f *followed) { f.targets.reconfigure(crdNamed(0)); f.changed(crdNamed(0)) }, 1},
		"a source changes":      {true, func(t *testing.T, f *followed) { f.sources.set(secret, caTwo); f.tick(t, secret) }, 1},
		"nothing changes":       {true, func(*testing.T, *followed) {}, 0},
		"a target is listed":    {true, func(_ *testing.T, f *followed) { f.show(crdNamed(0)) }, 0},
		"another replica leads": {false, func(_ *testing.T, f *followed) { f.targets.reconfigure(crdNamed(0)); f.changed(crdNamed(0)) }, 0},
		"the webhook is not called for the kind": {true, func(_ *testing.T, f *followed) {
			f.targets.reconfigure(target)
			f.changed(target)
		}, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			following(t, Options{}, func(t *testing.T, f *followed) {
				f.pass(suspectEvery)
				before := len(f.targets.probed())
				f.leads = test.leads
				f.targets.serve(nil, 0)
				test.change(t, f)
				f.pass(time.Minute)
				f.expectLogged(t, "does not reach the webhook", test.said)
				if probed := len(f.targets.probed()) > before; probed != (test.said > 0) {
					t.Errorf("probed with %s", f.targets.probed()[before:])
				}
			})
		})
	}
}

func TestTheWebhookIsProbedNowAndThenOnly(t *testing.T) {
	following(t, Options{}, func(t *testing.T, f *followed) {
		f.pass(suspectEvery)
		before := len(f.targets.probed())
		for range 300 {
			f.targets.reconfigure(crdNamed(0))
			f.changed(crdNamed(0))
			f.pass(time.Second)
		}
		if probes := len(f.targets.probed()) - before; probes != 5 {
			t.Errorf("%d probes in five minutes of changes", probes)
		}
		f.expectLogged(t, "reach", 0)
	})
}

// TestATargetIsProbedThatIsThere removes the one that was not filled, and then all.
func TestATargetIsProbedThatIsThere(t *testing.T) {
	following(t, Options{}, func(t *testing.T, f *followed) {
		f.targets.serve(nil, 0)
		f.rotate(t)
		first := f.targets.probed()[0]
		f.targets.remove(first)
		f.show(first)
		f.pass(time.Minute)
		if last := f.targets.probed()[len(f.targets.probed())-1]; last == first || !last.Kind.Admitted() {
			t.Errorf("probed with %s", last)
		}
		for n := range many {
			f.targets.remove(crdNamed(n))
			f.show(crdNamed(n))
		}
		f.pass(longestProbe)
		before := len(f.targets.probed())
		f.pass(time.Hour)
		if len(f.targets.probed()) != before {
			t.Errorf("probed with %s", f.targets.probed()[before:])
		}
	})
}

func TestATargetThatIsGivenUpIsNoMiss(t *testing.T) {
	following(t, Options{}, func(t *testing.T, f *followed) {
		ended, cancel := context.WithCancel(f.ctx)
		cancel()
		f.missed(ended, crd, false, context.DeadlineExceeded)
		f.missed(f.ctx, crd, false, errors.New("somebody else has changed it"))
		if !f.countsOnWebhook(crd.Kind) {
			t.Error("the webhook is not counted on")
		}
	})
}
