package certs

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/caject/caject/cabundle"
)

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
			bubble(t, func(t *testing.T, c *world) {
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
	bubble(t, func(t *testing.T, c *world) {
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
	bubble(t, func(t *testing.T, c *world) {
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
	bubble(t, func(t *testing.T, c *world) {
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
			bubble(t, func(t *testing.T, c *world) {
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
		damage func(*world)
		keeps  bool // callers go on trusting it
	}{
		"the data is gone":   {func(c *world) { c.edit(func(s *corev1.Secret) { s.Data = nil }) }, false},
		"all is gone":        {func(c *world) { c.edit(func(s *corev1.Secret) { s.Data, s.Annotations = nil, nil }) }, false},
		"the Secret is gone": {(*world).deleteSecret, false},
		"the Secret is gone, and callers still trust it": {(*world).deleteSecret, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *world) {
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
				if got.Annotations[cabundle.DistrustAnnotation] != wanted.Annotations[cabundle.DistrustAnnotation] {
					t.Errorf("distrusted is %q, not %q", got.Annotations[cabundle.DistrustAnnotation], wanted.Annotations[cabundle.DistrustAnnotation])
				}
			})
		})
	}
}

// TestACAThatPeopleDistrustIsReplacedAtOnce names the one that signs in the annotation.
func TestACAThatPeopleDistrustIsReplacedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, c *world) {
		first, second := c.join(0), c.join(0)
		looks(t, first, second)
		before := c.signs(t)
		c.edit(func(s *corev1.Secret) {
			s.Annotations[cabundle.DistrustAnnotation] = strings.ToUpper(before.fingerprint())
		})
		looks(t, first, second)
		if now := c.signs(t); now.certificate.Equal(before.certificate) || now.trusted.Holds(before.certificate) {
			t.Error("it is still there")
		}
		if err := errors.Join(first.served(0), second.served(0)); err != nil {
			t.Error(err)
		}
	})
}
