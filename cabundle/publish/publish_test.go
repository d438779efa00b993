package publish

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/cabundle/v1alpha1"
)

func newRig(t *testing.T, rules cabundle.Rules) (*replica, *fakeSource, *api, *clocktesting.FakeClock) {
	t.Helper()
	s, b, clk := &fakeSource{}, newAPI(), clocktesting.NewFakeClock(start)
	return newReplica(t, s, b, clk, rules), s, b, clk
}

func encoded(cas ...[]byte) string {
	var all []byte
	for _, one := range cas {
		all = append(all, one...)
	}
	return base64.StdEncoding.EncodeToString(all)
}

// expect fails the test unless cas are published, and the Ready condition has the given reason.
func expect(t *testing.T, b *api, reason string, cas ...[]byte) {
	t.Helper()
	object := b.stored()
	if object == nil {
		t.Fatal("there is no CABundle")
	}
	if diff := cmp.Diff(encoded(cas...), b.entry(t, source).Published.CABundle); diff != "" {
		t.Errorf("published: %s", diff)
	}
	if diff := cmp.Diff(encoded(cas...), object.Status.CABundle); diff != "" {
		t.Errorf("shown: %s", diff)
	}
	condition := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.Ready)
	if condition == nil || condition.Reason != reason || (condition.Status == "True") != (reason == "Published") {
		t.Errorf("ready: %+v", condition)
	}
}

func TestTheLifeOfAPublication(t *testing.T) {
	r, s, b, clk := newRig(t, cabundle.Rules{})
	one, two := ca("one"), ca("two")
	s.fail(cabundle.SourceNotFound)
	r.publish(t)
	expect(t, b, "SourceNotFound")
	if problem := b.entry(t, source).Problem; problem == "" {
		t.Errorf("the policy that warns has nothing to say: %q", problem)
	}

	s.hold(one)
	r.read(t)
	r.publish(t)
	expect(t, b, "Published", one)
	if problem := b.entry(t, source).Problem; problem != "" {
		t.Errorf("the policy that warns still says %q", problem)
	}

	s.hold(two)
	r.read(t)
	r.targets.summary.Injected = 0
	r.publish(t)
	expect(t, b, "Published", one, two)
	if diff := cmp.Diff([]string{encoded(one)}, b.entry(t, source).Published.Replaces); diff != "" {
		t.Errorf("replaces: %s", diff)
	}
	r.targets.summary.Injected = 1
	r.publish(t)
	if replaces := b.entry(t, source).Published.Replaces; len(replaces) > 0 {
		t.Errorf("it still replaces %d values although no target holds one", len(replaces))
	}
	status := b.stored().Status
	if len(status.Certificates) != 2 || status.Certificates[0].LastSeen == nil || status.Certificates[1].LastSeen != nil {
		t.Errorf("certificates: %+v", status.Certificates)
	}

	writes := b.writes()
	r.publish(t)
	r.watch()
	clk.Step(time.Minute)
	r.publish(t)
	if b.writes() != writes {
		t.Error("what is right was written")
	}

	s.fail(cabundle.SourceNotAllowed)
	r.read(t)
	r.publish(t)
	expect(t, b, "SourceNotAllowed")
	s.hold(two)
	r.read(t)
	r.publish(t)
	expect(t, b, "Published", two)
	s.fail(cabundle.SourceNotFound)
	r.read(t)
	r.publish(t)
	expect(t, b, "SourceNotFound", two)

	// Nobody names it any more. Some time later it is shown no more, and kept for the next one to name it.
	r.targets.summary = Summary{}
	again := r.publish(t)
	if entry := b.entry(t, source); again != 10*30*time.Second || !entry.Named() {
		t.Errorf("it is looked at after %s, and stored %v", again, entry)
	}
	clk.Step(again)
	if again = r.publish(t); again != shards.TidyAfter {
		t.Errorf("it is looked at after %s", again)
	}
	clk.Step(again)
	r.publish(t)
	if entry := b.entry(t, source); b.stored() != nil || entry.Named() || entry.Untidy() || entry.Published.CABundle != encoded(two) {
		t.Errorf("shown: %v, stored: %+v", b.stored(), entry)
	}
	writes = b.writes()
	r.Stored(source)
	if again := r.publish(t); again != 0 || b.writes() != writes {
		t.Errorf("it is looked at after %s, and written", again)
	}
	r.targets.summary = Summary{Total: 1}
	r.read(t)
	r.publish(t)
	clk.Step(shards.TidyAfter)
	r.publish(t)
	if entry := b.entry(t, source); !entry.Named() || entry.Untidy() || entry.Published.CABundle != encoded(two) {
		t.Errorf("named once more it is stored %+v", entry)
	}
}

func TestWhatIsLeftOutIsSaidWhereTheSourceIsShown(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	one := ca("one")
	s.hold(one)
	r.read(t)
	r.publish(t)
	said := func() string {
		return meta.FindStatusCondition(b.stored().Status.Conditions, v1alpha1.Ready).Message
	}
	if got := said(); got != "the source can be injected" {
		t.Errorf("it says %q", got)
	}
	s.hold(one)
	s.reading.LeftOut = []string{"certificate 2 of 2: negative serial number"}
	r.read(t)
	r.publish(t)
	expect(t, b, "Published", one)
	if got := said(); !strings.Contains(got, "the source can be injected; left out of the bundle") || !strings.Contains(got, "certificate 2 of 2: negative serial number") {
		t.Errorf("it says %q", got)
	}
}

// Resync may have written all targets before what they hold is published.
func TestFormerValuesLeaveAlthoughNothingElseHappens(t *testing.T) {
	for sentence, leads := range map[string]bool{"the leader": true, "another replica": false} {
		t.Run(sentence, func(t *testing.T) {
			r, s, b, _ := newRig(t, cabundle.Rules{})
			one, two := ca("one"), ca("two")
			s.hold(one)
			r.publish(t)
			r.leads = leads
			s.hold(two)
			r.read(t)
			again := r.publish(t)
			if diff := cmp.Diff([]string{encoded(one)}, b.entry(t, source).Published.Replaces); diff != "" {
				t.Errorf("an API server may show what targets held: %s", diff)
			}
			if want := map[bool]time.Duration{true: delay, false: followDelay}[leads]; again != want {
				t.Errorf("it looks again after %s, not %s", again, want)
			}
			if again := r.publish(t); again != 0 || len(b.entry(t, source).Published.Replaces) > 0 {
				t.Errorf("then %q is still replaced, and it looks again after %s", b.entry(t, source).Published.Replaces, again)
			}
		})
	}
}

func TestTargetsThatAreNotKnownYetTakeNothingAway(t *testing.T) {
	r, s, b, clk := newRig(t, cabundle.Rules{})
	one, two := ca("one"), ca("two")
	s.hold(one)
	r.publish(t)
	s.hold(two)
	r.read(t)
	r.targets.summary.Injected = 0
	r.publish(t)

	// Another process starts: only one kind has been listed.
	started := newReplica(t, s, b, clk, cabundle.Rules{})
	started.targets.unsynced = true
	started.publish(t)
	if replaces := b.entry(t, source).Published.Replaces; len(replaces) != 1 {
		t.Errorf("it took away values: %d", len(replaces))
	}
	started.targets.summary = Summary{}
	writes := b.writes()
	if again := started.publish(t); again != delay || b.writes() != writes {
		t.Errorf("no target is known yet: looks again after %s", again)
	}

	// All are listed, and some were not looked at: they may have no place for a caBundle, or one that is not filled.
	started.targets.unsynced, started.targets.summary = false, Summary{Pending: 1}
	if again := started.publish(t); again != 0 || b.writes() != writes {
		t.Errorf("no target was looked at yet: looks again after %s", again)
	}
	started.targets.summary = Summary{Total: 1, Injected: 1, Pending: 1}
	started.publish(t)
	if replaces := b.entry(t, source).Published.Replaces; len(replaces) != 1 {
		t.Errorf("not all were looked at: %d", len(replaces))
	}
	started.targets.summary = Summary{Total: 1, Injected: 1}
	started.publish(t)
	if replaces := b.entry(t, source).Published.Replaces; len(replaces) != 0 {
		t.Errorf("once all are known: %d", len(replaces))
	}
}

func TestWhatSomebodyElseShowsIsPutRight(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	s.hold(ca("one"))
	r.publish(t)
	good := b.stored()
	for sentence, change := range map[string]func(*v1alpha1.CABundle){
		"another certificate": func(o *v1alpha1.CABundle) { o.Status.CABundle = encoded(ca("foreign")) },
		"the status":          func(o *v1alpha1.CABundle) { o.Status = v1alpha1.CABundleStatus{} },
		"another source":      func(o *v1alpha1.CABundle) { o.Spec.Source = "secret/ns/other" },
	} {
		t.Run(sentence, func(t *testing.T) {
			object := b.stored()
			change(object)
			b.mu.Lock()
			b.put(object)
			b.mu.Unlock()
			if r.watch(); object.Spec.Source != good.Spec.Source {
				r.Gone(object.Name) // it is not seen as that of the source
			}
			r.publish(t)
			now := b.stored()
			if diff := cmp.Diff(good.Status.CABundle, now.Status.CABundle); diff != "" {
				t.Error("shown:", diff)
			}
			if now.Spec.Source != good.Spec.Source {
				t.Errorf("%+v", now.Spec)
			}
			if condition := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.Ready); condition == nil {
				t.Error("it does not say whether it is ready")
			}
		})
	}
	if b.shards.Writes() != 1 {
		t.Errorf("the shard was written %d times", b.shards.Writes())
	}
}

// TestWhatWasWithdrawnIsNotReplaced: an opt-in is withdrawn and given again before that is published. Targets keep the CA of before.
func TestWhatWasWithdrawnIsNotReplaced(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	r.targets.summary.Injected = 0
	s.hold(ca("one"))
	r.publish(t)
	s.fail(cabundle.SourceNotAllowed)
	r.read(t)
	two := ca("two")
	s.hold(two)
	r.read(t)
	r.publish(t)
	if diff := cmp.Diff(cabundle.Published{CABundle: encoded(two)}, b.entry(t, source).Published); diff != "" {
		t.Error(diff)
	}
}

func TestACABundleIsWrittenAtMostEveryTwoSeconds(t *testing.T) {
	r, s, b, clk := newRig(t, cabundle.Rules{})
	s.hold(ca("one"))
	r.publish(t)
	shown := b.fakeBundles.writes
	s.hold(ca("two"))
	r.read(t)
	if again := r.reconcile(t.Context(), source); again != showEvery || b.fakeBundles.writes != shown || b.shards.Writes() != 2 {
		t.Errorf("it is looked at after %s; shown %d times, published %d times", again, b.fakeBundles.writes-shown, b.shards.Writes())
	}
	clk.Step(showEvery)
	if again := r.reconcile(t.Context(), source); again != 0 || b.fakeBundles.writes != shown+1 {
		t.Errorf("it is looked at after %s; shown %d times", again, b.fakeBundles.writes-shown)
	}
}

func TestWhatSomebodyElsePublishesIsPutRight(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	s.hold(ca("one"))
	r.publish(t)
	good, foreign := b.shards.All()[0], ca("foreign")
	of := func(o *corev1.PodTemplate, volume int) map[string]string {
		return o.Template.Spec.Volumes[volume].CSI.VolumeAttributes
	}
	for sentence, change := range map[string]func(*corev1.PodTemplate){
		"another certificate": func(o *corev1.PodTemplate) { of(o, 0)[source.String()] = encoded(foreign) },
		"former values":       func(o *corev1.PodTemplate) { of(o, 0)[source.String()] += " " + encoded(foreign) },
		"no history":          func(o *corev1.PodTemplate) { of(o, 1)[source.String()] = "{" },
		"nothing":             func(o *corev1.PodTemplate) { o.Template.Spec.Volumes = nil },
	} {
		t.Run(sentence, func(t *testing.T) {
			b.shards.Edit(good.Name, change)
			r.watch()
			r.publish(t)
			r.publish(t) // no target holds what was written there: it need not be replaced
			if diff := cmp.Diff(good.Template, b.shards.All()[0].Template); diff != "" {
				t.Error(diff)
			}
			if r.ledger.Latest(source).History.Bundle(start).Holds(cabundle.ParseExisting(foreign).Certificates()[0]) {
				t.Error("what was written there is in the history")
			}
		})
	}
}

func TestABundleThatIsFullSaysSo(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	for n := range 120 {
		s.hold(ca(strings.Repeat("x", 60*(n%2+1)) + string(rune('a'+n%26))))
		r.read(t)
	}
	r.publish(t)
	if size := base64.StdEncoding.DecodedLen(len(b.entry(t, source).Published.CABundle)); size > cabundle.MaxSourceBytes {
		t.Errorf("%d bytes", size)
	}
	select {
	case event := <-r.events.Events:
		if !strings.Contains(event, DroppedReason) {
			t.Error(event)
		}
	default:
		t.Error("nobody is told")
	}
	for n := range 3 { // about as many fit as before: each further one drops one or two, and no more are told of
		s.hold(ca(strings.Repeat("y", 60*(n%2+1))))
		r.read(t)
		r.publish(t)
		select {
		case event := <-r.events.Events:
			if !strings.Contains(event, "the 1 oldest") && !strings.Contains(event, "the 2 oldest") {
				t.Error(event)
			}
		default:
		}
	}
}

func TestAnAPIServerThatTakesNothingIsTriedAgain(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	s.hold(ca("one"))
	for sentence, test := range map[string]struct {
		err  error
		want time.Duration
	}{
		"forbidden": {apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("no")), 30 * time.Second},
		"an outage": {errors.New("connection refused"), outageRetry},
		"conflicts": {apierrors.NewConflict(schema.GroupResource{}, "", errors.New("changed")), outageRetry},
	} {
		b.shards.Fail(test.err)
		if again := r.publish(t); again != test.want {
			t.Errorf("%s: again after %s", sentence, again)
		}
	}
	b.shards.Fail(nil)
	b.err = errors.New("no")
	if again := r.publish(t); again != outageRetry {
		t.Errorf("not shown: again after %s", again)
	}
	b.err = nil
	if again := r.publish(t); again != 0 {
		t.Errorf("again after %s", again)
	}
	expect(t, b, "Published", b.published(t))
}

func (a *api) published(t *testing.T) []byte {
	decoded, _ := base64.StdEncoding.DecodeString(a.entry(t, source).Published.CABundle)
	return decoded
}

// policy is an API server's policy: it fills what it sees to be published, some tries late.
type policy struct {
	t     *testing.T
	mu    sync.Mutex
	b     *api
	lag   int
	off   bool
	tries int
	held  map[string][]byte // by target
}

func (p *policy) readmit(name string, fields int) Readmit {
	return func(context.Context) (cabundle.Object, bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tries++
		if p.lag--; p.lag < 0 && !p.off {
			p.held[name] = p.b.published(p.t)
		}
		object := cabundle.Object{Target: cabundle.Target{Kind: kind, Name: name}}
		for range fields {
			object.Fields = append(object.Fields, cabundle.Field{CABundle: p.held[name]})
		}
		return object, false, nil
	}
}

func TestAPolicyFills(t *testing.T) {
	r, s, b, clk := newRig(t, cabundle.Rules{})
	go func() {
		for t.Context().Err() == nil {
			clk.Step(time.Millisecond)
			time.Sleep(time.Millisecond)
		}
	}()
	s.hold(ca("one"))
	r.read(t)
	p := &policy{t: t, b: b, lag: 2, held: map[string][]byte{}}

	// 40 targets at once: one write, and only the first has to try again.
	var filling sync.WaitGroup
	for n := range 40 {
		filling.Go(func() {
			if _, filled := r.Fill(t.Context(), source, kind, p.readmit(string(rune('a'+n)), 2)); !filled {
				t.Error("not filled")
			}
		})
	}
	filling.Wait()
	if b.writes() != 1 || p.tries != 42 {
		t.Errorf("%d writes, %d tries", b.writes(), p.tries)
	}

	// A policy that does not fill is not counted on for a while: for this kind and source, and no other.
	s.hold(ca("two"))
	r.read(t)
	p.off, p.tries = true, 0
	if _, filled := r.Fill(t.Context(), source, kind, p.readmit("a", 1)); filled || p.tries != len(lags)+1 {
		t.Errorf("filled %v, %d tries", filled, p.tries)
	}
	if r.effects[kind].misses != 1 {
		t.Error("the miss is not noted")
	}
	p.tries = 0
	r.Fill(t.Context(), source, kind, p.readmit("a", 1))
	if p.tries > 0 || r.Fills(t.Context(), source, cabundle.Object{Target: cabundle.Target{Kind: kind}, Fields: make([]cabundle.Field, 1)}) {
		t.Error("it is counted on again at once")
	}
	if !r.counted(source, cabundle.APIService) || !r.counted(cabundle.Reference{Kind: cabundle.APIServer}, kind) {
		t.Error("the others are not counted on any more")
	}
	clk.Step(rest)
	p.off = false
	if _, filled := r.Fill(t.Context(), source, kind, p.readmit("a", 1)); !filled {
		t.Error("it is not counted on any more")
	}
	if r.effects[kind].misses > 0 {
		t.Error("the miss is still noted")
	}

	// What it cannot fill is not tried often.
	p.off, p.tries, p.held["a"] = true, 0, ca("foreign")
	if _, filled := r.Fill(t.Context(), source, kind, p.readmit("a", 1)); filled || p.tries != 1 {
		t.Errorf("foreign certificates: filled %v, %d tries", filled, p.tries)
	}
	if !r.counted(source, kind) {
		t.Error("it is not counted on any more, for what it cannot fill")
	}
}

func TestTheFirstBundleOfASourceIsNotLeftToAPolicy(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	s.hold(ca("one"))
	r.read(t)
	empty := cabundle.Object{Target: cabundle.Target{Kind: kind}, Fields: make([]cabundle.Field, 1)}
	if r.Fills(t.Context(), source, empty) || b.writes() > 0 {
		t.Error("it is")
	}
	r.publish(t)
	if !r.Fills(t.Context(), source, empty) {
		t.Error("nor is the second")
	}
	r.options.PolicyKinds = []cabundle.Kind{cabundle.APIService}
	if r.Fills(t.Context(), source, empty) {
		t.Error("a kind that no policy fills")
	}
}

// TestReplicasWhoseFilesDiffer is about the API server's CA, of which each replica has a file of its own.
func TestReplicasWhoseFilesDiffer(t *testing.T) {
	b, clk := newAPI(), clocktesting.NewFakeClock(start)
	var all []*replica
	for n, content := range [][]byte{ca("one"), ca("two")} {
		s := &fakeSource{reading: cabundle.Reading{Bundle: cabundle.ParseExisting(content)}}
		r := newReplica(t, s, b, clk, cabundle.Rules{})
		r.leads = n == 0
		all = append(all, r)
	}
	for range 3 {
		for _, r := range all {
			r.watch()
			r.read(t)
			r.publish(t)
			clk.Step(time.Minute)
		}
	}
	writes := b.writes()
	for range 5 {
		for _, r := range all {
			r.watch()
			r.read(t)
			r.publish(t)
			clk.Step(time.Minute)
		}
	}
	if b.writes() != writes {
		t.Errorf("%d writes while nothing changed", b.writes()-writes)
	}
	if names := b.entry(t, source).Published.Bundle().Certificates(); len(names) != 1 || names[0].Subject.CommonName != "one" {
		t.Errorf("published: %d certificates", len(names))
	}
}

func TestTheExpiryThatIsShownIsThatOfWhatIsInUse(t *testing.T) {
	r, s, b, _ := newRig(t, cabundle.Rules{})
	expired := cabundletest.CA("expired", start.Add(-2*time.Hour), start.Add(-time.Hour))
	later := cabundletest.CA("later", start.Add(-time.Hour), start.Add(48*time.Hour))
	s.hold(expired, ca("one"), later)
	r.publish(t)
	if expires := b.stored().Status.Expires; expires == nil || !expires.Time.Equal(start.Add(48*time.Hour)) {
		t.Errorf("it is %s", expires)
	}
	s.hold(expired)
	r.read(t)
	r.publish(t)
	if expires := b.stored().Status.Expires; expires != nil {
		t.Errorf("of nothing that is in use it is %s", expires)
	}
}
