package resync

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

// following is a rig of a replica that does not lead; the test can have it lead.
func following(t *testing.T, caBundles ...[]byte) (r *publishing, leads *bool) {
	t.Helper()
	r, leads = newPublishing(t, caBundles...), new(bool)
	r.options.Leads = func() bool { return *leads }
	return r, leads
}

func TestAReplicaThatFollowsActsALittleLater(t *testing.T) {
	r, _ := following(t, nil)
	r.watchChange(true)
	if again := r.work(t); again != followAfter || len(r.targets.reads)+len(r.sources.reads) > 0 {
		t.Fatalf("again after %v, reads %v and %v", again, r.targets.reads, r.sources.reads)
	}
	r.clock.Step(followAfter / 2)
	r.watchChange(true)
	if again := r.work(t); again != followAfter/2 {
		t.Fatalf("shown once more by the watch, it waits for another %v", again)
	}
	r.clock.Step(followAfter / 2)
	r.retry(t)
	r.expect(t, caOne)
}

func TestAReplicaThatFollowsOnlyLooksAtWhatTheLeaderHasDone(t *testing.T) {
	r, _ := following(t, nil)
	r.watchChange(true)
	r.work(t)
	r.targets.object.Webhooks[0].ClientConfig.CABundle = caOne // the leader
	r.targets.bump()
	r.watchChange(true)
	r.work(t)
	r.clock.Step(followAfter)
	r.retry(t)
	want := map[cluster.Freshness]int{cluster.Cached: 1}
	if diff := cmp.Diff(want, r.targets.reads); diff != "" || r.targets.writes > 0 {
		t.Errorf("%d writes\n%s", r.targets.writes, diff)
	}
	if diff := cmp.Diff(want, r.sources.reads); diff != "" {
		t.Error(diff)
	}
}

func TestAReplicaThatFollowsActsAtOnceOnAHint(t *testing.T) {
	r, leads := following(t, nil)
	*leads = true
	r.watch()
	r.settled(t)
	*leads = false
	r.rotate(t)
	r.work(t)
	r.expect(t, append(bytes.Clone(caOne), caTwo...))
}

func TestEveryReplicaFillsItsOwnConfigurationAtOnce(t *testing.T) {
	r, _ := following(t, nil)
	r.options.Own = []cabundle.Target{target}
	r.watch()
	r.work(t)
	r.expect(t, caOne)
}

func TestOfItsOwnConfigurationNothingIsSaidWhileTheCAIsMade(t *testing.T) {
	r, leads := following(t, nil)
	*leads = true
	r.options.Own = []cabundle.Target{target}
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceWithoutCA, Detail: "there is none yet"}
	r.watch()
	r.work(t)
	r.expectEvent(t, "")
	r.clock.Step(r.options.Interval)
	r.retry(t)
	r.expectEvent(t, "SourceWithoutCA")
}

func TestOnlyTheLeaderReports(t *testing.T) {
	r, leads := following(t, nil)
	r.sources.problem = &cabundle.Problem{Reason: cabundle.SourceNotFound, Detail: "it is not there"}
	r.watch()
	r.work(t)
	r.clock.Step(followAfter)
	again := r.retry(t)
	r.expectEvent(t, "")
	if again == 0 {
		t.Fatal("it does not try again")
	}
	*leads = true
	r.Elected()
	r.work(t)
	r.expectEvent(t, "SourceNotFound")
}

func TestWhoIsElectedLooksAtWhatWasLeftToTheLeader(t *testing.T) {
	r, leads := following(t, nil)
	r.watch()
	r.work(t)
	*leads = true
	r.Elected()
	r.work(t)
	r.expect(t, caOne)
	r.watch()
	r.Elected()
	if len(r.queue.added) > 0 {
		t.Error("what is right is looked at again")
	}
}

func TestAHangIsNoticed(t *testing.T) {
	r, _ := following(t, nil)
	if err := r.Alive(nil); err != nil {
		t.Error(err)
	}
	for sentence, begin := range map[string]func() func(){
		"a target": r.Resync.work.Turn, "a round": r.rounds.Turn, "a CABundle": r.publisher.work.Turn,
	} {
		end := begin()
		r.clock.Step(hangs + time.Second)
		if err := r.Alive(nil); err == nil {
			t.Errorf("%s hangs, and nobody notices", sentence)
		}
		end()
		r.rounds.Turn()()
		if err := r.Alive(nil); err != nil {
			t.Errorf("after %s: %v", sentence, err)
		}
	}
}
