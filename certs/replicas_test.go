package certs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/source"
)

// cluster is an API server that has one Secret, and our webhook configuration, which resync fills from the Secret at once.
type cluster struct {
	mu       sync.Mutex
	secret   *corev1.Secret // nil if there is none
	version  int
	caBundle []caBundle // as it was at each time
	// keeps has resync not obey caject.io/distrust.
	keeps  bool
	events []string
	// changed are called when the configuration has changed.
	changed []func()
}

type caBundle struct {
	since time.Time
	held  cabundle.Bundle
}

var secretName = types.NamespacedName{Namespace: "ns", Name: "ca"}

// put stores secret, and fills the configuration.
func (c *cluster) put(secret *corev1.Secret) {
	c.version++
	c.secret = secret.DeepCopy()
	c.secret.ResourceVersion = fmt.Sprint(c.version)
	held := cabundle.Bundle{}
	if len(c.caBundle) > 0 {
		held = c.caBundle[len(c.caBundle)-1].held
	}
	held = cabundle.Merge(time.Now(), held, cabundle.ParseExisting(secret.Data[trustedKey]))
	if !c.keeps {
		held = parseRenewal(secret.Annotations).without(held)
	}
	c.caBundle = append(c.caBundle, caBundle{time.Now(), held})
	for _, changed := range c.changed {
		changed()
	}
}

// edit changes the Secret as people do. It may make it anew.
func (c *cluster) edit(change func(*corev1.Secret)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	secret := &corev1.Secret{}
	if c.secret != nil {
		secret = c.secret.DeepCopy()
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	change(secret)
	c.put(secret)
}

func (c *cluster) deleteSecret() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret = nil
}

// held is the Secret now.
func (c *cluster) held() *corev1.Secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.secret.DeepCopy()
}

// signs returns the CA that signs.
func (c *cluster) signs(t *testing.T) *authority {
	t.Helper()
	found := parseContent(time.Now(), c.held())
	if found.wrong != nil {
		t.Fatal(found.wrong)
	}
	return found.authority
}

// trustedAt returns what API servers have in the configuration that learn of a change late by lag.
func (c *cluster) trustedAt(lag time.Duration) (held cabundle.Bundle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.caBundle {
		if !b.since.After(time.Now().Add(-lag)) {
			held = b.held
		}
	}
	return held
}

// said returns how many Events have reason.
func (c *cluster) said(reason string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, event := range c.events {
		if event == reason {
			n++
		}
	}
	return n
}

// member is a replica: a Keeper with its own clock and its own connection.
type member struct {
	*Keeper
	record.EventRecorder
	cluster *cluster
	skew    atomic.Int64 // by how much its clock is ahead
	blind   atomic.Bool  // it cannot read the configuration
	answers http.RoundTripper
}

// join makes a replica whose clock is ahead by skew.
func (c *cluster) join(skew time.Duration) *member {
	m := &member{cluster: c}
	m.skew.Store(int64(skew))
	server := NewServerClock(m)
	m.answers = server.Wrap(answering{})
	m.Keeper = NewKeeper(Options{
		Secret: secretName, Configurations: []cabundle.Target{own}, Names: []string{"caject.ns.svc"},
		CALifetime: 30 * 24 * time.Hour, LeafLifetime: 7 * 24 * time.Hour, TrustDelay: time.Minute, Clock: server,
	}, nil, configurationOf{m}, m)
	m.store = &store{client: m, name: secretName, events: m, clock: server}
	return m
}

// run has m look as it does in a process, until stop is called.
func (m *member) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Start(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// request has an answer of the API server arrive, with its Date.
func (m *member) request() {
	request, _ := http.NewRequest(http.MethodGet, "https://localhost", nil)
	_, _ = m.answers.RoundTrip(request)
}

type answering struct{}

func (answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}}, nil
}

// A member is its own clock.
func (m *member) Now() time.Time                         { return time.Now().Add(time.Duration(m.skew.Load())) }
func (m *member) Since(t time.Time) time.Duration        { return m.Now().Sub(t) }
func (m *member) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (m *member) NewTimer(d time.Duration) clock.Timer   { return clock.RealClock{}.NewTimer(d) }
func (m *member) Sleep(d time.Duration)                  { time.Sleep(d) }
func (m *member) Tick(d time.Duration) <-chan time.Time  { return time.Tick(d) }
func (m *member) NewTicker(d time.Duration) clock.Ticker { return clock.RealClock{}.NewTicker(d) }
func (m *member) Event(_ runtime.Object, _, reason, _ string) {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	m.cluster.events = append(m.cluster.events, reason)
}

var gone = apierrors.NewNotFound(corev1.Resource("secrets"), secretName.Name)

// Get implements [secrets].
func (m *member) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	m.request()
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if m.cluster.secret == nil {
		return gone
	}
	m.cluster.secret.DeepCopyInto(into.(*corev1.Secret))
	return nil
}

// Update implements [secrets].
func (m *member) Update(_ context.Context, object client.Object, _ ...client.UpdateOption) error {
	m.request()
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	switch {
	case m.cluster.secret == nil:
		return gone
	case m.cluster.secret.ResourceVersion != object.GetResourceVersion():
		return apierrors.NewConflict(corev1.Resource("secrets"), secretName.Name, nil)
	}
	m.cluster.put(object.(*corev1.Secret))
	return nil
}

// Apply implements [secrets]: what is applied is a Secret without data.
func (m *member) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	m.request()
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if m.cluster.secret == nil {
		m.cluster.put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{cabundle.AllowDirectInjectionAnnotation: "true"}}})
	}
	return nil
}

// Create implements [secrets].
func (m *member) Create(context.Context, client.Object, ...client.CreateOption) error {
	return errors.New("not allowed")
}

// configurationOf is our configuration as a member reads it.
type configurationOf struct{ *member }

func (c configurationOf) Get(context.Context, cabundle.Target, source.Freshness) (cabundle.Object, error) {
	c.request()
	if c.blind.Load() {
		return cabundle.Object{}, errors.New("no answer")
	}
	return cabundle.Object{Target: own, Fields: []cabundle.Field{{Webhook: "w", CABundle: c.cluster.trustedAt(0).PEM()}}}, nil
}

// looks has each of them look, twice.
func looks(t *testing.T, all ...*member) {
	t.Helper()
	for range 2 {
		for _, m := range all {
			m.look(t.Context())
		}
	}
}

// served returns an error unless an API server that learns of changes late by lag accepts what m serves.
func (m *member) served(lag time.Duration) error {
	leaf, err := m.GetCertificate(nil)
	if err != nil {
		return err
	}
	object := cabundle.Object{Fields: []cabundle.Field{{Webhook: "w", CABundle: m.cluster.trustedAt(lag).PEM()}}}
	trusted := &trust{configuration: own}
	trusted.add(own, object)
	return trusted.verify(time.Now(), leaf, []string{"caject.ns.svc"})
}

// bubble runs body in a synctest bubble at the usual time.
func bubble(t *testing.T, body func(*testing.T, *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		body(t, &cluster{})
	})
}

// TestWhoseClockIsWrongTakesNoStep has the clock of one of two replicas be wrong when it starts, and get wrong.
func TestWhoseClockIsWrongTakesNoStep(t *testing.T) {
	for sentence, skew := range map[string]time.Duration{
		"ahead by hours":               3 * time.Hour,
		"ahead until the leaf is due":  6 * 24 * time.Hour,
		"ahead until the CA is due":    25 * 24 * time.Hour,
		"ahead until the CA has ended": 31 * 24 * time.Hour,
		"behind by hours":              -3 * time.Hour,
		"behind by a year":             -365 * 24 * time.Hour,
	} {
		t.Run(sentence, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				wrong, right := c.join(skew), c.join(0)
				looks(t, wrong)
				if c.held() != nil && len(c.held().Data) > 0 {
					t.Fatal("it has made the first CA")
				}
				if err := wrong.Ready(nil); err == nil || !strings.Contains(err.Error(), "clock") {
					t.Errorf("it does not say why it is not ready: %v", err)
				}
				looks(t, right, wrong)
				first, version := c.signs(t), c.held().ResourceVersion
				if err := right.served(0); err != nil {
					t.Errorf("the other one: %v", err)
				}
				if _, err := wrong.GetCertificate(nil); err == nil {
					t.Error("it has signed a leaf")
				}
				wrong.skew.Store(0)
				looks(t, wrong)
				if err := errors.Join(wrong.Ready(nil), wrong.served(0)); err != nil {
					t.Errorf("the clock was set: %v", err)
				}
				wrong.skew.Store(int64(skew)) // it gets wrong while a good leaf is served
				looks(t, wrong, right)
				if err := errors.Join(wrong.Ready(nil), wrong.served(0), right.served(0)); err != nil {
					t.Errorf("the clock gets wrong: %v", err)
				}
				if found := wrong.look(t.Context()); found.authority == nil || !strings.Contains(found.authority.Error(), "clock") {
					t.Errorf("it does not say that the clock is wrong: %v", found.authority)
				}
				if again := c.held().ResourceVersion; again != version || !c.signs(t).certificate.Equal(first.certificate) {
					t.Error("it has changed the Secret")
				}
			})
		})
	}
}

// TestClocksThatAgreeAlmostRotateTogether has two replicas, almost as far apart as can be, go through a rotation.
func TestClocksThatAgreeAlmostRotateTogether(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		ahead, behind := c.join(tolerance-time.Minute), c.join(time.Minute-tolerance)
		for began := time.Now(); time.Since(began) < 40*24*time.Hour; time.Sleep(3 * time.Hour) {
			for _, m := range []*member{ahead, behind} {
				looks(t, m)
				if err := errors.Join(m.Ready(nil), m.served(0)); err != nil {
					t.Fatalf("after %s: %v", time.Since(began), err)
				}
			}
		}
		for step, want := range map[step]int{create: 1, prepare: 1, promote: 1, drop: 1, restore: 0, replace: 0, adopt: 0} {
			if n := c.said("CA" + string(step)); n != want {
				t.Errorf("%s: %d times, not %d", step, n, want)
			}
		}
	})
}

// TestACAThatBeginsInTheFutureIsPutRight has one put there that was made by a clock that is ahead.
func TestACAThatBeginsInTheFutureIsPutRight(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		first, second := c.join(0), c.join(0)
		looks(t, first, second)
		before := c.signs(t)
		future := newTestAuthority(t, now.Add(24*time.Hour))
		c.edit(func(s *corev1.Secret) { s.Data = dataOf(t, future) })
		looks(t, first, second)
		if !c.signs(t).certificate.Equal(before.certificate) {
			t.Error("the CA of before was not restored")
		}
		// So a new replica makes one if nobody remembers the one of before.
		c.edit(func(s *corev1.Secret) { s.Data = dataOf(t, future) })
		third := c.join(0)
		third.look(t.Context())
		time.Sleep(patience)
		looks(t, third)
		if err := errors.Join(third.Ready(nil), third.served(0)); err != nil {
			t.Error(err)
		}
	})
}

// TestANextCAThatBeginsInTheFutureNeverSigns has it lie beside the one that signs.
func TestANextCAThatBeginsInTheFutureNeverSigns(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		m := c.join(0)
		looks(t, m)
		future, err := newPair(now.Add(24*time.Hour), 365*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c.edit(func(s *corev1.Secret) {
			a := *c.parsed(t)
			a.next, a.trusted = future, cabundle.Merge(now, a.trusted, future.bundle())
			if err := a.write(s); err != nil {
				t.Fatal(err)
			}
		})
		for range 100 {
			looks(t, m)
			time.Sleep(interval)
		}
		if n := c.said("CAPromoted"); n > 0 {
			t.Error("it signs")
		}
	})
}

// parsed is the CA in the Secret, for who holds the lock.
func (c *cluster) parsed(t *testing.T) *authority {
	t.Helper()
	found := parseContent(time.Now(), c.secret)
	if found.wrong != nil {
		t.Fatal(found.wrong)
	}
	return found.authority
}

// TestARequestForANewCA has two replicas renew the CA while API servers call them, each with its own idea of the configuration.
func TestARequestForANewCA(t *testing.T) {
	const blindFor = 20 * time.Second // which leafChange allows for
	for sentence, test := range map[string]struct {
		restart time.Duration // between two restarts of all; 0 for none
		again   time.Duration // after which another request comes
		rotates bool          // a next CA lies there already
		blind   bool          // one cannot see for itself until the CA signs
	}{
		"two replicas":                        {},
		"during a rotation":                   {rotates: true},
		"one replica has seen nothing so far": {blind: true},
		"all are restarted every 80 s":        {restart: 80 * time.Second},
		"another request before it signs":     {again: 30 * time.Second},
		"another request when it signs":       {again: 90 * time.Second},
	} {
		t.Run(sentence, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				var members []*member
				var stops []func()
				stop := func() {
					for _, stop := range stops {
						stop()
					}
				}
				start := func() {
					members, stops = []*member{c.join(0), c.join(0)}, nil
					c.mu.Lock()
					c.changed = []func(){members[0].Wake} // the other one looks when its time comes
					c.mu.Unlock()
					for _, m := range members {
						stops = append(stops, m.run(t))
					}
				}
				start()
				defer func() { stop() }()
				time.Sleep(2 * time.Minute)
				leaked := []*pair{&c.signs(t).pair}
				if test.rotates {
					next, err := newPair(time.Now(), 30*24*time.Hour)
					if err != nil {
						t.Fatal(err)
					}
					leaked = append(leaked, next)
					c.edit(func(s *corev1.Secret) {
						a := *c.parsed(t)
						a.next, a.trusted = next, cabundle.Merge(now, a.trusted, next.bundle())
						_ = a.write(s)
					})
					time.Sleep(50 * time.Second)
				}
				members[1].blind.Store(test.blind)
				c.edit(func(s *corev1.Secret) { s.Annotations[renewAnnotation] = "ticket 7" })
				asked, restarted, signed, done := time.Now(), time.Now(), time.Time{}, time.Time{}
				for time.Since(asked) < 6*time.Minute {
					time.Sleep(time.Second)
					synctest.Wait()
					if test.restart > 0 && time.Since(restarted) > test.restart {
						stop()
						start()
						restarted = time.Now()
						time.Sleep(time.Second)
					}
					if test.again > 0 && time.Since(asked) > test.again {
						test.again = 0
						leaked = append(leaked, &c.signs(t).pair)
						if next := c.signs(t).next; next != nil {
							leaked = append(leaked, next)
						}
						c.edit(func(s *corev1.Secret) { s.Annotations[renewAnnotation] = "ticket 8" })
					}
					if signed.IsZero() && c.said("CAPromoted") > 0 {
						signed = time.Now()
					}
					if !signed.IsZero() && time.Since(signed) > blindFor {
						members[1].blind.Store(false)
					}
					if done.IsZero() && c.said("CAWithdrawn") > 0 {
						done = time.Now()
					}
					for n, m := range members {
						if m.Ready(nil) != nil {
							continue // it is not called
						}
						for _, lag := range []time.Duration{0, 55 * time.Second} {
							if err := m.served(lag); err != nil {
								t.Fatalf("after %s, replica %d, an API server that is late by %s: %v", time.Since(asked), n, lag, err)
							}
						}
					}
				}
				t.Logf("it signed after %s, and the CA of before was withdrawn after %s", signed.Sub(asked), done.Sub(asked))
				found := c.signs(t)
				if n := len(found.trusted.Certificates()); n != 1 || found.next != nil {
					t.Errorf("%d CAs are trusted, and %v is next", n, found.next)
				}
				for _, p := range leaked {
					if !found.distrusts(p.certificate) {
						t.Error("one that may have leaked is not distrusted")
					}
				}
				annotations := c.held().Annotations
				if annotations[renewAnnotation]+annotations[renewingAnnotation] != "" {
					t.Errorf("the request stays: %v", annotations)
				}
				if n := c.said("CAWithdrawn"); n != 1 {
					t.Errorf("CAs were withdrawn %d times", n)
				}
				for _, m := range members {
					if err := m.Ready(nil); err != nil {
						t.Error(err)
					}
					if leaf, err := m.GetCertificate(nil); err != nil || leaf.Leaf.CheckSignatureFrom(found.certificate) != nil {
						t.Errorf("a leaf of another CA is served (%v)", err)
					}
				}
			})
		})
	}
}

// TestADistrustedCADoesNotComeBack has the Secret damaged after a request was fulfilled; the first replica to notice has not looked
// since before the request.
func TestADistrustedCADoesNotComeBack(t *testing.T) {
	for sentence, test := range map[string]struct {
		damage func(*cluster)
		keeps  bool // callers go on trusting it
	}{
		"the data is gone":   {func(c *cluster) { c.edit(func(s *corev1.Secret) { s.Data = nil }) }, false},
		"all is gone":        {func(c *cluster) { c.edit(func(s *corev1.Secret) { s.Data, s.Annotations = nil, nil }) }, false},
		"the Secret is gone": {(*cluster).deleteSecret, false},
		"the Secret is gone, and callers still trust it": {(*cluster).deleteSecret, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				c.keeps = test.keeps
				frozen, works := c.join(0), c.join(0)
				looks(t, frozen, works)
				former := c.signs(t)
				c.edit(func(s *corev1.Secret) { s.Annotations[renewAnnotation] = "x" })
				for range 30 {
					looks(t, works)
					time.Sleep(interval)
				}
				wanted := c.held()
				if !parseRenewal(wanted.Annotations).distrusts(former.certificate) {
					t.Fatal("it was not withdrawn")
				}
				test.damage(c)
				frozen.look(t.Context())
				if !test.keeps && len(c.held().Data[certificateKey]) > 0 {
					t.Error("a replica that knows nothing has put back a CA")
				}
				looks(t, works, frozen, works)
				got := c.held()
				if string(got.Data[certificateKey]) != string(wanted.Data[certificateKey]) {
					t.Error("another CA signs")
				}
				if slices.ContainsFunc(c.signs(t).trusted.Certificates(), former.certificate.Equal) {
					t.Error("the former one is trusted again")
				}
				if got.Annotations[distrustAnnotation] != wanted.Annotations[distrustAnnotation] {
					t.Errorf("distrusted is %q, not %q", got.Annotations[distrustAnnotation], wanted.Annotations[distrustAnnotation])
				}
			})
		})
	}
}

// TestACAThatPeopleDistrustIsReplacedAtOnce names the one that signs in the annotation.
func TestACAThatPeopleDistrustIsReplacedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		first, second := c.join(0), c.join(0)
		looks(t, first, second)
		before := c.signs(t)
		c.edit(func(s *corev1.Secret) { s.Annotations[distrustAnnotation] = strings.ToUpper(before.fingerprint()) })
		looks(t, first, second)
		if now := c.signs(t); now.certificate.Equal(before.certificate) || now.trusted.Holds(before.certificate) {
			t.Error("it is still there")
		}
		if err := errors.Join(first.served(0), second.served(0)); err != nil {
			t.Error(err)
		}
	})
}
