package ledger

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

func TestASourceThatNobodyFollowsIsNotRead(t *testing.T) {
	tests := map[string]func(*rig){
		"it was good":                   func(*rig) {},
		"it could not be used":          func(r *rig) { r.cluster.set(func() { clear(r.cluster.stored) }); time.Sleep(interval) },
		"it did not answer":             func(r *rig) { r.cluster.goAway(); time.Sleep(interval) },
		"it was hinted at":              func(r *rig) { r.Hint(source) },
		"it was about to be read again": func(r *rig) { r.Changed(source) },
		"the machine stood still": func(r *rig) {
			time.AfterFunc(time.Millisecond, func() { r.jump.Add(int64(time.Minute)) })
		},
	}
	for sentence, before := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				before(r)
				r.Unfollow(source)
				r.Hint(source)
				r.Changed(source)
				r.forget()
				time.Sleep(10 * interval)
				if reads := len(r.cluster.asked(source)); reads > 0 {
					t.Errorf("%d reads", reads)
				}
				if len(r.Expiries()) > 0 {
					t.Error("it has an expiry")
				}
			})
		})
	}
}

func TestASourceFollowedAgainIsReadBeforeAnythingIsConcluded(t *testing.T) {
	tests := map[string]func(*rig){
		"nothing was under way": func(r *rig) { r.Unfollow(source) },
		"it was hinted at":      func(r *rig) { r.Hint(source); r.Unfollow(source) },
		"it was being read": func(r *rig) {
			go r.know(source)
			time.Sleep(r.cluster.latency / 2)
			r.Unfollow(source)
		},
	}
	for sentence, unfollow := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := started(t, cabundle.Rules{}, source)
				r.cluster.latency = 100 * time.Millisecond
				unfollow(r)
				time.Sleep(5 * interval)
				r.forget()
				r.cluster.store(source, holds("two"))
				r.Follow(source)
				if known := r.Latest(source); !known.Bundle.Empty() || known.Consistent || !known.Began.IsZero() {
					t.Errorf("before it is read again it is known to hold %v, since %s", subjects(known.Bundle), known.Began)
				}
				if known := subjects(r.Latest(source).History.Current()); !cmp.Equal(known, []string{"one"}) {
					t.Errorf("its history holds %v", known)
				}
				time.Sleep(longest)
				if reads := freshnesses(r.cluster.asked(source)); !cmp.Equal(reads[:1], []cluster.Freshness{cached}) {
					t.Errorf("it was read %v", reads)
				}
				if held := subjects(r.Latest(source).Bundle); !cmp.Equal(held, []string{"two"}) {
					t.Errorf("it is known to hold %v", held)
				}
			})
		})
	}
}

func TestFollowedTwiceATickIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, cabundle.Rules{}, source)
		for range 100 {
			r.Unfollow(source)
			r.Follow(source)
			r.Follow(source)
		}
		r.know(source)
		r.forget()
		time.Sleep(10 * interval)
		if reads := len(r.cluster.asked(source)); reads > 11 {
			t.Errorf("%d reads in 10 intervals", reads)
		}
	})
}

func TestAccountsEnd(t *testing.T) {
	stored := cabundle.History{}.Observe(born, holds("zero"))
	tests := map[string]struct {
		do    func(*rig)
		after time.Duration // when it is gone; less than 0 if it stays
	}{
		"of a source that was never followed": {func(r *rig) { r.know(source) }, keep * interval},
		"of one that was followed":            {func(r *rig) { r.Follow(source); r.know(source); r.Unfollow(source) }, keep * interval},
		"of one that was followed for long": {func(r *rig) {
			r.Follow(source)
			time.Sleep(2 * keep * interval)
			r.Unfollow(source)
		}, keep * interval},
		"of one that does not answer": {func(r *rig) { r.cluster.goAway(); r.Follow(source); r.know(source); r.Unfollow(source) }, keep * interval},
		"of one that was forgotten":   {func(r *rig) { r.Follow(source); r.Unfollow(source); r.Forget(source) }, 0},
		"of one of which nothing is stored any more": {func(r *rig) {
			r.Learn(source, stored)
			time.Sleep(2 * keep * interval)
			r.Forget(source)
		}, 0},
		"of one that was forgotten while it is read": {func(r *rig) {
			r.cluster.latency = time.Second
			r.Follow(source)
			r.Learn(source, stored)
			go r.know(source)
			time.Sleep(time.Millisecond)
			r.Unfollow(source)
			r.Forget(source)
		}, keep * interval},
		"not of one that is followed":             {func(r *rig) { r.Follow(source); r.Forget(source) }, -1},
		"not of one that is followed again":       {func(r *rig) { r.Follow(source); r.Unfollow(source); time.Sleep(interval); r.Follow(source) }, -1},
		"not of one of which something is stored": {func(r *rig) { r.Learn(source, stored) }, -1},
		"not of one of which something was learnt": {func(r *rig) {
			r.Follow(source)
			r.Learn(source, stored)
			r.Unfollow(source)
		}, -1},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, cabundle.Rules{}).start()
				r.cluster.store(source, holds("one"))
				test.do(r)
				there := func() bool {
					r.Ledger.mu.Lock()
					defer r.Ledger.mu.Unlock()
					return r.accounts[source] != nil
				}
				if test.after > 0 {
					time.Sleep(test.after - interval/2)
					if !there() {
						t.Error("it is gone too soon")
					}
					time.Sleep(interval)
				}
				if test.after < 0 {
					time.Sleep(10 * keep * interval)
				}
				if there() != (test.after < 0) {
					t.Errorf("it is there: %t", there())
				}
			})
		})
	}
}

// TestForgettingDoesNotHaveASourceReadTwiceAtATime: the fake sees to it.
func TestForgettingDoesNotHaveASourceReadTwiceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{}).start()
		r.cluster.latency = time.Second
		r.cluster.store(source, holds("one"))
		var reading sync.WaitGroup
		for range 3 {
			reading.Go(func() { r.Read(r.ctx, source, consistent, metrics.Resync) })
			time.Sleep(100 * time.Millisecond)
			r.Forget(source)
		}
		reading.Wait()
	})
}

// TestWhatIsStoredOfASourceIsKnownBeforeItIsFollowed: it may have been published ahead, or been named before.
func TestWhatIsStoredOfASourceIsKnownBeforeItIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cabundle.Rules{})
		stored := cabundle.History{}.Observe(time.Now(), holds("former"))
		r.SetRecall(func(ref cabundle.Reference) cabundle.History {
			if ref == source {
				return stored
			}
			return cabundle.History{}
		})
		r.cluster.store(source, holds("now"))
		_, combine := r.Weigh(source, nil, holds("now"))
		if got := words(combine(time.Now(), cabundle.Bundle{}, holds("now").Bundle)); got != "former now" {
			t.Errorf("its first target gets %q", got)
		}
		r.start()
		r.Follow(source)
		r.know(source)
		if got := words(r.Latest(source).History.Bundle(time.Now())); got != "former now" {
			t.Errorf("it is known to have held %q", got)
		}
	})
}
