package lead

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// store is the API server with one Lease.
type store struct {
	mu      sync.Mutex
	record  *resourcelock.LeaderElectionRecord
	version int
	// fails, if set, answers in place of the store.
	fails func(verb, who string) error
}

// holder returns who holds the Lease.
func (s *store) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record == nil {
		return ""
	}
	return s.record.HolderIdentity
}

// fail has each request answered by fails from now on.
func (s *store) fail(fails func(verb, who string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

// fakeLock is one process's view of the store.
type fakeLock struct {
	*store
	identity string
	seen     int
}

func (l *fakeLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.answer("get"); err != nil {
		return nil, nil, err
	}
	if l.record == nil {
		return nil, nil, apierrors.NewNotFound(leases, "lease")
	}
	l.seen = l.version
	record := *l.record
	raw, err := json.Marshal(record)
	return &record, raw, err
}

func (l *fakeLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.answer("create"); err != nil {
		return err
	}
	if l.record != nil {
		return apierrors.NewAlreadyExists(leases, "lease")
	}
	l.write(r)
	return nil
}

func (l *fakeLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.answer("update"); err != nil {
		return err
	}
	if l.seen != l.version {
		return apierrors.NewConflict(leases, "lease", errors.New("it has changed"))
	}
	l.write(r)
	return nil
}

func (l *fakeLock) write(r resourcelock.LeaderElectionRecord) {
	l.version++
	l.record, l.seen = &r, l.version
}

func (l *fakeLock) answer(verb string) error {
	if l.fails == nil {
		return nil
	}
	return l.fails(verb, l.identity)
}

func (l *fakeLock) RecordEvent(string) {}
func (l *fakeLock) Identity() string   { return l.identity }
func (l *fakeLock) Describe() string   { return "ns/lease" }

// process is one that takes part in an election.
type process struct {
	*Lead
	elections atomic.Int64
	end       context.CancelFunc
	ended     chan error
	log       strings.Builder
}

// The times of an election in these tests: the chart's.
const duration, deadline, period = 15 * time.Second, 10 * time.Second, 2 * time.Second

// aTry is the most that lies between two tries: client-go's jitter more than doubles the period.
const aTry = 5 * period / 2

// start starts a process, and waits until it has looked at the Lease.
func start(t *testing.T, mode Mode, s *store, identity string) *process {
	t.Helper()
	l, err := newLead(Options{
		Mode: mode, Lease: types.NamespacedName{Namespace: "ns", Name: "lease"},
		LeaseDuration: duration, RenewDeadline: deadline, RetryPeriod: period,
	}, &fakeLock{store: s, identity: identity})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Lead: l, ended: make(chan error, 1)}
	p.OnElected(func() {
		if !p.Leads() {
			t.Errorf("%s is called when it does not lead", identity)
		}
		p.elections.Add(1)
	})
	logger := funcr.New(func(_, args string) { p.log.WriteString(args + "\n") }, funcr.Options{})
	ctx, cancel := context.WithCancel(logr.NewContext(t.Context(), logger))
	p.end = cancel
	go func() { p.ended <- p.Start(ctx) }()
	synctest.Wait()
	return p
}

// stop ends the process in order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.end()
	if err := <-p.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// standing is how an election stands for a process.
type standing struct {
	Leads, Acquired bool
	Elections       int
}

func (p *process) standing() standing {
	got := standing{Leads: p.Leads(), Elections: int(p.elections.Load())}
	select {
	case <-p.Acquired():
		got.Acquired = true
	default:
	}
	return got
}

func expect(t *testing.T, sentence string, p *process, want standing) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, p.standing()); diff != "" {
		t.Errorf("%s: %s", sentence, diff)
	}
}

// pass lets time go by, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func refuse(string, string) error {
	return apierrors.NewForbidden(leases, "lease", errors.New("no role allows it"))
}

// only has fails answer the requests of who alone.
func only(who string, fails func(verb, who string) error) func(verb, who string) error {
	return func(verb, asking string) error {
		if asking != who {
			return nil
		}
		return fails(verb, asking)
	}
}

func silence(string, string) error { return errors.New("connection refused") }

func TestSole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		a := start(t, Sole, s, "a")
		expect(t, "the first", a, standing{true, true, 1})
		b := start(t, Sole, s, "b")
		pass(time.Minute)
		expect(t, "a standby", b, standing{false, false, 0})
		expect(t, "the first, a minute later", a, standing{true, true, 1})

		a.stop(t)
		if holder := s.holder(); holder != "" {
			t.Errorf("%s has ended and still holds the Lease", holder)
		}
		expect(t, "who has ended", a, standing{false, true, 1})
		pass(aTry)
		expect(t, "the standby, once the first has ended", b, standing{true, true, 1})
		b.stop(t)
	})
}

func TestSoleStandbyEndsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		a, b := start(t, Sole, s, "a"), start(t, Sole, s, "b")
		b.stop(t)
		if holder := s.holder(); holder != "a" {
			t.Errorf("the Lease is %q's", holder)
		}
		a.stop(t)
	})
}

// TestSoleEndsWhenItLosesTheLease cuts the holder off.
func TestSoleEndsWhenItLosesTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		a, b := start(t, Sole, s, "a"), start(t, Sole, s, "b")
		s.fail(only("a", silence))
		began := time.Now()
		if err := <-a.ended; err == nil || err.Error() != "leader election lost" {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(began); took < deadline || took >= duration {
			t.Errorf("it ended after %s", took)
		}
		expect(t, "who has lost", a, standing{false, true, 1})
		expect(t, "the standby, at that time", b, standing{false, false, 0})
		pass(duration)
		expect(t, "the standby", b, standing{true, true, 1})
		b.stop(t)
		a.end()
	})
}

func TestSoleDoesNotWorkWithoutTheRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{fails: refuse}
		a := start(t, Sole, s, "a")
		pass(time.Hour)
		expect(t, "without the right", a, standing{false, false, 0})
		if !strings.Contains(a.log.String(), "no role allows it") {
			t.Errorf("logged: %s", &a.log)
		}
		s.fail(nil)
		pass(aTry)
		expect(t, "once it may", a, standing{true, true, 1})
		a.stop(t)
	})
}

func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		a := start(t, Shared, s, "a")
		expect(t, "the first", a, standing{true, true, 1})
		b := start(t, Shared, s, "b")
		expect(t, "the second", b, standing{false, true, 0})
		pass(time.Minute)
		expect(t, "the second, a minute later", b, standing{false, true, 0})

		a.stop(t)
		if holder := s.holder(); holder != "" {
			t.Errorf("%s has ended and still holds the Lease", holder)
		}
		pass(aTry)
		expect(t, "the second, once the first has ended", b, standing{true, true, 1})
		b.stop(t)
		if log := a.log.String() + b.log.String(); log != "" {
			t.Errorf("logged: %s", log)
		}
	})
}

// TestSharedGoesOnWhenItLosesTheLease cuts the holder off, and lets it come back.
func TestSharedGoesOnWhenItLosesTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		a, b := start(t, Shared, s, "a"), start(t, Shared, s, "b")
		s.fail(only("a", silence))
		pass(duration + aTry)
		expect(t, "who is cut off", a, standing{true, true, 1})
		expect(t, "who has taken over", b, standing{true, true, 1})
		s.fail(nil)
		pass(aTry)
		expect(t, "who was cut off", a, standing{false, true, 1})
		b.stop(t)
		pass(aTry)
		expect(t, "who was cut off, elected again", a, standing{true, true, 2})
		a.stop(t)
	})
}

// TestOneHolds: where two lead, since one is cut off, one of them alone holds the Lease.
func TestOneHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		a, b := start(t, Shared, s, "a"), start(t, Shared, s, "b")
		if !a.Holds() || b.Holds() {
			t.Errorf("the first holds: %v, the second: %v", a.Holds(), b.Holds())
		}
		s.fail(only("a", silence))
		pass(duration + aTry)
		if a.Holds() || !b.Holds() {
			t.Errorf("who is cut off holds: %v, who has taken over: %v", a.Holds(), b.Holds())
		}
		s.fail(nil)
		a.stop(t)
		b.stop(t)
		if !Always().Holds() {
			t.Error("one that runs alone does not hold")
		}
	})
}

// TestSharedLeadsWhenItCannotTell is about a process that is not the holder.
func TestSharedLeadsWhenItCannotTell(t *testing.T) {
	const soon, long = aTry, duration + time.Second
	for sentence, test := range map[string]struct {
		fails func(verb, who string) error
		after time.Duration
		leads bool
		log   int // lines
	}{
		"all is well":                                {nil, long, false, 0},
		"it may not read the Lease any more":         {refuse, soon, true, 1},
		"it may not, for long":                       {refuse, time.Hour, true, 1},
		"the API server is away for a moment":        {silence, soon, false, 0},
		"it is away for longer than a Lease is good": {silence, long, true, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{}
				a, b := start(t, Shared, s, "a"), start(t, Shared, s, "b")
				if test.fails != nil {
					s.fail(only("b", test.fails))
				}
				pass(test.after)
				expect(t, sentence, b, standing{test.leads, true, 0})
				if lines := strings.Count(b.log.String(), "No leader election"); lines != test.log {
					t.Errorf("%d lines are logged: %s", lines, &b.log)
				}
				s.fail(nil)
				pass(aTry)
				expect(t, "when it is over", b, standing{false, true, 0})
				if lines := strings.Count(b.log.String(), "Leader election works"); lines != test.log {
					t.Errorf("%d lines say that it is over: %s", lines, &b.log)
				}
				b.stop(t)
				a.stop(t)
			})
		})
	}
}

// TestSharedWithoutTheRight is about a role that forbids part of it: the process leads, and says so once.
func TestSharedWithoutTheRight(t *testing.T) {
	for sentence, fails := range map[string]func(verb, who string) error{
		"to get":    refuse,
		"to create": func(verb, who string) error { return map[string]error{"create": refuse(verb, who)}[verb] },
		"to update": func(verb, who string) error { return map[string]error{"update": refuse(verb, who)}[verb] },
		"for want of the namespace": func(verb, who string) error {
			return map[string]error{"create": apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "ns")}[verb]
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{fails: fails}
				if sentence == "to update" { // else there is nothing to update
					s.record = &resourcelock.LeaderElectionRecord{}
				}
				a := start(t, Shared, s, "a")
				pass(time.Hour)
				expect(t, sentence, a, standing{true, true, 0})
				if lines := strings.Count(a.log.String(), "\n"); lines != 1 || !strings.Contains(a.log.String(), "ns/lease") {
					t.Errorf("%d lines are logged: %s", lines, &a.log)
				}
				a.stop(t)
			})
		})
	}
}

// TestARequestThatHangsDoesNotLoseTheLease is about one that is not answered.
func TestARequestThatHangsDoesNotLoseTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lease{Interface: hanging{}, timeout: deadline / 2, log: logr.Discard()}
		began := time.Now()
		if _, _, err := l.Get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(began); took != deadline/2 {
			t.Errorf("it took %s", took)
		}
	})
}

// hanging answers no Get.
type hanging struct{ resourcelock.Interface }

func (hanging) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	<-ctx.Done()
	return nil, nil, ctx.Err()
}

func TestAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Always()
		l.OnElected(func() { t.Error("it was elected") })
		p := &process{Lead: l, ended: make(chan error, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		p.end = cancel
		go func() { p.ended <- l.Start(ctx) }()
		expect(t, "always", p, standing{true, true, 0})
		p.stop(t)
	})
}

func TestTimesThatCannotBe(t *testing.T) {
	_, err := newLead(Options{LeaseDuration: period, RenewDeadline: deadline, RetryPeriod: period}, &fakeLock{store: &store{}, identity: "a"})
	if err == nil || !strings.Contains(err.Error(), "leaseDuration") {
		t.Errorf("it says %v", err)
	}
}
