package certs

import (
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
)

// TestCallersThatAreNotSeenAreGivenTime has no configuration say what they trust: they are taken to read ca.crt, some time later.
func TestCallersThatAreNotSeenAreGivenTime(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		keeper := NewKeeper(Options{Names: []string{"metrics.ns.svc"}, CALifetime: 24 * time.Hour, LeafLifetime: 6 * time.Hour, TrustDelay: time.Minute}, nil, nil, clock.RealClock{})
		keeper.store, k.Keeper = k.secret, keeper
		if err := k.Ready(nil); err == nil {
			t.Error("it is ready before there is a certificate")
		}
		first, second := k.secret.authority, newTestAuthority(t, now)
		k.serves(t, "the first", first)

		prepared := *first
		prepared.next, prepared.trusted = &second.pair, cabundle.Merge(now, first.trusted, second.trusted)
		k.secret.authority = &prepared
		signs := func() bool {
			k.look(t.Context())
			k.look(t.Context())
			return k.secret.asked.trusted[second.fingerprint()]
		}
		if signs(); signs() {
			t.Error("the next CA signs at once")
		}
		time.Sleep(59 * time.Second)
		if signs() {
			t.Error("the next CA signs before its time")
		}
		time.Sleep(time.Second)
		if !signs() {
			t.Error("the next CA does not sign after its time")
		}

		promoted := *second
		promoted.trusted = prepared.trusted
		k.secret.authority = &promoted
		k.serves(t, "another replica, or this one, has promoted it", second)
		k.secret.authority = newTestAuthority(t, now)
		k.serves(t, "a CA in the place of both, which callers cannot trust any more", k.secret.authority)
	})
}

// TestAReplicaThatHasJustStartedDoesNotChangeItsLeafBeforeTheTime: it has seen no CA for long.
func TestAReplicaThatHasJustStartedDoesNotChangeItsLeafBeforeTheTime(t *testing.T) {
	keeping(t, func(t *testing.T, k *kept) {
		keeper := NewKeeper(Options{Names: []string{"metrics.ns.svc"}, CALifetime: 24 * time.Hour, LeafLifetime: 6 * time.Hour, TrustDelay: time.Minute}, nil, nil, clock.RealClock{})
		keeper.store, k.Keeper = k.secret, keeper
		first, second := *k.secret.authority, newTestAuthority(t, now)
		k.serves(t, "the first", &first)
		promoted := *second
		promoted.trusted = cabundle.Merge(now, first.trusted, second.trusted)
		k.secret.authority = &promoted
		k.serves(t, "another CA signs that was not in ca.crt before", &first)
		time.Sleep(time.Minute)
		k.serves(t, "it has been in ca.crt for long", second)
	})
}
