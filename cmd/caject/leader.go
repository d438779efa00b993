package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// leader takes part in the election of the replica that acts at once. It never ends the process: who loses the Lease goes on,
// a moment behind the one who has it. (The manager's own election would end it. That one is for a caject that stands in for
// cert-manager's cainjector: see leaseName.)
type leader struct {
	config leaderelection.LeaderElectionConfig
	// follows says that another replica is known to lead.
	follows atomic.Bool
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
	l, identity := &leader{}, host+"_"+string(uuid.NewUUID())
	l.config = leaderelection.LeaderElectionConfig{
		Name: o.webhookConfiguration,
		Lock: &saidOnce{Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.leaderElection.namespace, Name: o.webhookConfiguration},
			Client:     leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}},
		LeaseDuration:   o.leaderElection.leaseDuration,
		RenewDeadline:   o.leaderElection.renewDeadline,
		RetryPeriod:     o.leaderElection.retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { l.lead() },
			OnStoppedLeading: func() {},
			OnNewLeader:      func(holder string) { l.follows.Store(holder != "" && holder != identity) },
		},
	}
	if _, err := leaderelection.NewLeaderElector(l.config); err != nil {
		return nil, fmt.Errorf("set up leader election: %w", err)
	}
	return l, nil
}

// lead has what was left to another leader done.
func (l *leader) lead() {
	l.follows.Store(false)
	if l.elected != nil {
		l.elected()
	}
}

// Leads reports that this replica is to act at once: it is the leader, or knows of none.
func (l *leader) Leads() bool { return !l.follows.Load() }

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
		// It would log each try that fails: see saidOnce.
		elector.Run(logr.NewContext(ctx, logr.Discard())) // until the Lease is lost
	}, time.Second, 0.5, true)
	return nil
}

// saidOnce is a lock that logs once that the Lease is refused, and once that it is not any more. That the API server is away is
// logged by the transport.
type saidOnce struct {
	resourcelock.Interface
	refused atomic.Bool
}

// Get implements [resourcelock.Interface].
func (s *saidOnce) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := s.Interface.Get(ctx)
	s.say(err)
	return record, raw, err
}

// Create implements [resourcelock.Interface].
func (s *saidOnce) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := s.Interface.Create(ctx, r)
	s.say(err)
	return err
}

func (s *saidOnce) say(err error) {
	refused := apierrors.IsForbidden(err)
	if err != nil && !refused || s.refused.Swap(refused) == refused {
		return
	}
	if refused {
		ctrl.Log.Info("No leader election: every replica acts at once", "lease", s.Describe(), "reason", err.Error())
	} else {
		ctrl.Log.Info("Leader election works", "lease", s.Describe())
	}
}
