package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leader takes part in the election of the replica that acts at once. It never ends the process: who loses the Lease goes on,
// a moment behind the one who has it. (The manager's own election would end it. That one is for a caject that stands in for
// cert-manager's cainjector: see leaseName.)
type leader struct {
	config leaderelection.LeaderElectionConfig
	leads  atomic.Bool
	// elected, if set, is called each time this replica becomes the leader. It must not block.
	elected func()
}

// newLeader returns a leader. It asks the API server nothing before Start.
func newLeader(o *options, config *rest.Config, httpClient *http.Client) (*leader, error) {
	leases, err := coordinationv1client.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("set up leader election: %w", err)
	}
	l := &leader{}
	l.config = leaderelection.LeaderElectionConfig{
		Name: o.webhookConfiguration,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.leaderElection.namespace, Name: o.webhookConfiguration},
			Client:     leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration:   o.leaderElection.leaseDuration,
		RenewDeadline:   o.leaderElection.renewDeadline,
		RetryPeriod:     o.leaderElection.retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { l.become(ctx) },
			OnStoppedLeading: func() { l.leads.Store(false) },
		},
	}
	if _, err := leaderelection.NewLeaderElector(l.config); err != nil {
		return nil, fmt.Errorf("set up leader election: %w", err)
	}
	return l, nil
}

func (l *leader) become(ctx context.Context) {
	l.leads.Store(true)
	log.FromContext(ctx).V(1).Info("Leading")
	if l.elected != nil {
		l.elected()
	}
}

// Leads reports that this replica is the leader, as far as it knows.
func (l *leader) Leads() bool { return l.leads.Load() }

// NeedLeaderElection implements [manager.LeaderElectionRunnable].
func (l *leader) NeedLeaderElection() bool { return false }

// Start takes part until ctx ends, and releases the Lease then.
func (l *leader) Start(ctx context.Context) error {
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		elector, err := leaderelection.NewLeaderElector(l.config)
		if err != nil {
			log.FromContext(ctx).Error(err, "No leader election") // newLeader has tried it
			return
		}
		elector.Run(ctx) // until the Lease is lost
	}, time.Second, 0.5, true)
	return nil
}
