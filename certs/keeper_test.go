package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

var own = cabundle.Target{Kind: cabundle.MutatingWebhookConfiguration, Name: "caject"}

// fakeSecret answers with what it holds; it takes no steps, but notes what the Keeper knows.
type fakeSecret struct {
	authority *authority
	err       error
	asked     view // the last time
	looks     atomic.Int32
}

func (f *fakeSecret) ensure(_ context.Context, _ rotation, v view) (*authority, error) {
	f.asked = v
	f.looks.Add(1)
	return f.authority, f.err
}

// fakeConfiguration is our webhook configuration.
type fakeConfiguration struct {
	caBundle []byte
	err      error
}

func (f *fakeConfiguration) Get(context.Context, cabundle.Target, cluster.Freshness) (cabundle.Object, error) {
	return cabundle.Object{Target: own, Fields: []cabundle.Field{{Webhook: "w", CABundle: f.caBundle}}}, f.err
}

type kept struct {
	*Keeper
	secret        *fakeSecret
	configuration *fakeConfiguration
}

// keeping runs body with a Keeper in a synctest bubble, in which time passes when all sleep.
func keeping(t *testing.T, body func(*testing.T, *kept)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		k := &kept{secret: &fakeSecret{authority: newTestAuthority(t, now)}, configuration: &fakeConfiguration{}}
		k.Keeper = NewKeeper(Options{
			Secret: types.NamespacedName{Namespace: "ns", Name: "ca"}, Configurations: []cabundle.Target{own}, Names: []string{"caject.ns.svc"},
			CALifetime: 24 * time.Hour, LeafLifetime: 6 * time.Hour, TrustDelay: time.Minute,
		}, nil, k.configuration, clock.RealClock{})
		k.store = k.secret
		body(t, k)
	})
}

// serves looks, and fails the test unless a leaf of ca is served and, by what our configuration holds, trusted.
func (k *kept) serves(t *testing.T, sentence string, ca *authority) {
	t.Helper()
	k.look(t.Context())
	if err := k.Ready(nil); err != nil {
		t.Errorf("%s: not ready: %v", sentence, err)
	}
	leaf, err := k.GetCertificate(nil)
	if err != nil {
		t.Fatalf("%s: %v", sentence, err)
	}
	if err := leaf.Leaf.CheckSignatureFrom(ca.certificate); err != nil {
		t.Errorf("%s: another CA's leaf is served", sentence)
	}
}

func TestALeafOfAnotherCAIsServedOnceAllHaveTrustedThatForLong(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		first, second := k.secret.authority, newTestAuthority(t, now)
		k.configuration.caBundle = first.trusted.PEM()
		k.serves(t, "at the beginning", first)
		k.secret.authority = second
		k.serves(t, "not trusted at all", first)
		k.configuration.caBundle = append(first.trusted.PEM(), second.trusted.PEM()...)
		k.serves(t, "trusted by one API server", first)
		time.Sleep(50 * time.Second)
		k.configuration.caBundle = first.trusted.PEM()
		k.serves(t, "not trusted any more", first)
		k.configuration.caBundle = append(first.trusted.PEM(), second.trusted.PEM()...)
		k.serves(t, "trusted again", first)
		time.Sleep(59 * time.Second)
		k.serves(t, "trusted again, for not quite long enough", first)
		time.Sleep(time.Second)
		k.serves(t, "trusted for long", second)
	})
}

func TestExpiryIsThatOfTheLeafThatIsServed(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		if at, ok := k.Expiry(); ok {
			t.Errorf("there is no leaf, and it expires at %s", at)
		}
		k.configuration.caBundle = k.secret.authority.trusted.PEM()
		k.serves(t, "at the beginning", k.secret.authority)
		if at, ok := k.Expiry(); !ok || !at.Equal(now.Add(6*time.Hour)) {
			t.Errorf("it expires at %s, %v", at, ok)
		}
	})
}

func TestALeafIsKeptWhileNobodyKnowsWhatCallersTrust(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		first, second := k.secret.authority, newTestAuthority(t, now)
		k.configuration.caBundle = append(first.trusted.PEM(), second.trusted.PEM()...)
		k.serves(t, "at the beginning", first)
		k.secret.authority, k.configuration.err = second, errors.New("no answer")
		time.Sleep(time.Hour)
		k.serves(t, "another CA signs, and our configuration cannot be read", first)
	})
}

func TestALeafThatNobodyTrustsIsNotKept(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		k.configuration.caBundle = k.secret.authority.trusted.PEM()
		k.look(t.Context())
		k.secret.authority = newTestAuthority(t, now)
		k.configuration.caBundle = k.secret.authority.trusted.PEM()
		k.serves(t, "the former CA has left our configuration", k.secret.authority)
	})
}

func TestALeafIsMadeAnewIfTheClockGoesBackBeforeIt(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		ca := newTestAuthority(t, now.Add(-5*time.Hour))
		k.secret.authority, k.configuration.caBundle = ca, ca.trusted.PEM()
		k.serves(t, "at the beginning", ca)
		k.server.local = clocktesting.NewFakeClock(now.Add(-2 * time.Hour))
		k.serves(t, "two hours earlier", ca)
	})
}

func TestWhoCannotReadTheSecretSignsNothing(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		ca := k.secret.authority
		k.configuration.caBundle = ca.trusted.PEM()
		k.serves(t, "at the beginning", ca)
		before, _ := k.GetCertificate(nil)
		time.Sleep(5 * time.Hour) // it is due
		k.secret.authority, k.secret.err = nil, errors.New("no answer")
		k.serves(t, "without an answer", ca)
		if leaf, _ := k.GetCertificate(nil); leaf != before {
			t.Error("it has signed another leaf")
		}
		k.secret.authority, k.secret.err = ca, nil
		k.serves(t, "with an answer", ca)
		if leaf, _ := k.GetCertificate(nil); leaf == before {
			t.Error("it has not renewed the leaf")
		}
	})
}

func TestWhatOurConfigurationHeldOnceIsNoTrust(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		ca := k.secret.authority
		next, err := newPair(now, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		ca.next = next
		k.configuration.caBundle = append(ca.trusted.PEM(), next.bundle().PEM()...)
		k.look(t.Context())
		k.look(t.Context()) // it is seen at the second look that it is next
		time.Sleep(2 * time.Minute)
		k.configuration.err = errors.New("no answer")
		k.look(t.Context())
		if k.secret.asked.trusted[next.fingerprint()] {
			t.Error("it would sign, and nobody knows whether it is trusted")
		}
		k.configuration.err = nil
		k.look(t.Context())
		if !k.secret.asked.trusted[next.fingerprint()] {
			t.Error("it may not sign, though it is trusted for long")
		}
	})
}

func TestAnEmptySecretIsLeftToTheOthersForAWhile(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		k.configuration.caBundle = k.secret.authority.trusted.PEM()
		k.secret.authority, k.secret.err = nil, errOthers
		for _, wait := range []time.Duration{0, patience - 1} {
			time.Sleep(wait)
			if k.look(t.Context()); !k.secret.asked.others {
				t.Errorf("it makes a CA after %v", wait)
			}
		}
		time.Sleep(time.Nanosecond)
		if k.look(t.Context()); k.secret.asked.others {
			t.Errorf("it does not make a CA after %v", patience)
		}
		k.configuration.caBundle = nil
		if k.look(t.Context()); k.secret.asked.others {
			t.Error("it waits for others, and nobody trusts a CA")
		}
	})
}

// TestNothingSpins counts the looks while something cannot be done yet.
func TestNothingSpins(t *testing.T) {
	for sentence, test := range map[string]struct {
		age     time.Duration // of the CA
		next    bool          // there is one
		trusted bool          // by callers
	}{
		"all is well": {},
		"the next CA is trusted, but not for long":               {age: 22 * time.Hour, next: true, trusted: true},
		"the leaf ends with its CA, and the next is not trusted": {age: 22 * time.Hour, next: true},
		"the next CA is not trusted, and a leaf lasts an hour":   {age: 15 * time.Hour, next: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			keeping(t, func(t *testing.T, k *kept) {
				k.options.LeafLifetime, k.options.TrustDelay = 24*time.Hour, 4*time.Hour
				if test.age == 15*time.Hour {
					k.options.LeafLifetime = time.Hour
				}
				ca := newTestAuthority(t, now.Add(-test.age))
				k.secret.authority, k.configuration.caBundle = ca, ca.trusted.PEM()
				if test.next {
					ca.next = &newTestAuthority(t, now).pair
				}
				if test.trusted {
					k.configuration.caBundle = append(k.configuration.caBundle, ca.next.bundle().PEM()...)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- k.Start(ctx) }()
				time.Sleep(39 * time.Minute)
				before := k.secret.looks.Load()
				var leaves []*tls.Certificate
				for range 60 {
					time.Sleep(time.Second)
					synctest.Wait()
					if leaf, err := k.GetCertificate(nil); err != nil || len(leaves) == 0 || leaves[len(leaves)-1] != leaf {
						leaves = append(leaves, leaf)
					}
				}
				if looks := k.secret.looks.Load() - before; looks < 4 || looks > 9 {
					t.Errorf("it looked %d times in a minute", looks)
				}
				if len(leaves) > 2 {
					t.Errorf("it made %d leaves in a minute", len(leaves))
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTheLastLeafOfACAIsFollowedByOneOfTheNext(t *testing.T) {
	ca := newTestAuthority(t, now.Add(-22*time.Hour))
	leaf, err := ca.leaf(now, []string{"a"}, 6*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{now, now.Add(time.Hour), leaf.Leaf.NotAfter.Add(-time.Second)} {
		if ca.leafDue(at, leaf.Leaf) {
			t.Errorf("it is to be made anew %s before its end, and would end with its CA again", leaf.Leaf.NotAfter.Sub(at))
		}
	}
}
