package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// TestWhoMayWork is about who waits to be elected. The elections themselves are tested in package lead.
func TestWhoMayWork(t *testing.T) {
	for sentence, test := range map[string]struct {
		args  []string
		works bool
		leads bool
	}{
		"in the place of cainjector":            {nil, false, false},
		"the same, without an election":         {[]string{"--leader-elect=false"}, true, true},
		"serving admission":                     {with(), true, true},
		"serving admission without an election": {with("--leader-elect=false"), true, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			o, err := complete(t, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			leader, err := o.lead(&rest.Config{}, nil, &clients{})
			if err != nil {
				t.Fatal(err)
			}
			works := false
			select {
			case <-leader.Acquired():
				works = true
			default:
			}
			if works != test.works || leader.Leads() != test.leads {
				t.Errorf("works: %v, leads: %v", works, leader.Leads())
			}
		})
	}
}

// fakeManager keeps what is added to it.
type fakeManager struct {
	manager.Manager
	added []manager.Runnable
	err   error // of Add
}

func (f *fakeManager) Add(r manager.Runnable) error {
	f.added = append(f.added, r)
	return f.err
}

// start starts the nth runnable, and returns a channel of what it returns.
func (f *fakeManager) start(ctx context.Context, n int) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- f.added[n].Start(ctx) }()
	return ended
}

func TestWhatWaitsForAnElection(t *testing.T) {
	for sentence, elected := range map[string]bool{"elected": true, "not elected, and told to end": false} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mgr fakeManager
				acquired := make(chan struct{})
				started := map[string]bool{}
				runnable := func(name string) manager.Runnable {
					return manager.RunnableFunc(func(context.Context) error {
						started[name] = true
						return nil
					})
				}
				if err := add(&mgr, []manager.Runnable{runnable("always")}, []manager.Runnable{runnable("elected")}, acquired); err != nil {
					t.Fatal(err)
				}
				if mgr.added[1].(manager.LeaderElectionRunnable).NeedLeaderElection() {
					t.Error("the manager has it wait, too")
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				always, waiting := mgr.start(ctx, 0), mgr.start(ctx, 1)
				synctest.Wait()
				if !started["always"] || started["elected"] {
					t.Errorf("started before the election: %v", started)
				}
				if elected {
					close(acquired)
				} else {
					cancel()
				}
				for _, ended := range []<-chan error{always, waiting} {
					if err := <-ended; err != nil {
						t.Error(err)
					}
				}
				if started["elected"] != elected {
					t.Errorf("started: %v", started)
				}
			})
		})
	}
}

func TestWhatTheManagerRefusesIsAnError(t *testing.T) {
	none := manager.RunnableFunc(func(context.Context) error { return nil })
	for sentence, runnables := range map[string]struct{ always, elected []manager.Runnable }{
		"always":  {always: []manager.Runnable{none}},
		"elected": {elected: []manager.Runnable{none}},
	} {
		refused := errors.New("refused")
		if err := add(&fakeManager{err: refused}, runnables.always, runnables.elected, nil); !errors.Is(err, refused) {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}
