package main

import (
	"context"
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
			leader, err := o.lead(&rest.Config{}, nil, nil)
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
}

func (f *fakeManager) Add(r manager.Runnable) error {
	f.added = append(f.added, r)
	return nil
}

func TestWhatWaitsForAnElection(t *testing.T) {
	for sentence, elected := range map[string]bool{"elected": true, "not elected, and told to end": false} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mgr, acquired := &fakeManager{}, make(chan struct{})
				started := false
				err := afterElection{mgr, acquired}.Add(manager.RunnableFunc(func(context.Context) error {
					started = true
					return nil
				}))
				if err != nil {
					t.Fatal(err)
				}
				if mgr.added[0].(manager.LeaderElectionRunnable).NeedLeaderElection() {
					t.Error("the manager has it wait, too")
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- mgr.added[0].Start(ctx) }()
				synctest.Wait()
				if started {
					t.Error("it has not waited")
				}
				if elected {
					close(acquired)
				} else {
					cancel()
				}
				if err := <-ended; err != nil || started != elected {
					t.Errorf("started: %v, %v", started, err)
				}
				cancel()
			})
		})
	}
}
