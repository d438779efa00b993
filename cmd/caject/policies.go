package main

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

const (
	// policiesInterval is how often the API server is asked whether it serves MutatingAdmissionPolicies, besides at start and when it was
	// away: of several API servers, upgraded one by one, caject may see none go.
	policiesInterval = time.Hour
	// policiesRetry is when it is asked again after it has not answered. One that starts refuses requests for some seconds.
	policiesRetry = 10 * time.Second
)

// suggestion says, in the log and in a metric, when the API server serves MutatingAdmissionPolicies that the chart was rendered without.
type suggestion struct {
	// served asks the API server.
	served func() (bool, error)
	// back has something to receive whenever the API server was away.
	back <-chan struct{}
	// unused takes in whether there are policies to be had.
	unused func(bool)
	log    logr.Logger
	clock  clock.Clock

	said bool
}

// Start implements [manager.Runnable].
func (s *suggestion) Start(ctx context.Context) error {
	for {
		wait := s.look()
		select {
		case <-ctx.Done():
			return nil
		case <-s.back:
		case <-s.clock.After(wait):
		}
	}
}

// NeedLeaderElection implements [manager.LeaderElectionRunnable].
func (*suggestion) NeedLeaderElection() bool { return false }

// look asks once, and returns when to ask again.
func (s *suggestion) look() time.Duration {
	served, err := s.served()
	if err != nil {
		s.log.V(1).Info("Not known whether the API server serves MutatingAdmissionPolicies", "error", err.Error())
		return policiesRetry
	}
	s.unused(served)
	if served && !s.said {
		s.log.Info("The API server serves MutatingAdmissionPolicies, and the chart was rendered without those that fill and keep caBundles: " +
			"helm upgrade, with the same values, installs them; helm template needs --api-versions " +
			"admissionregistration.k8s.io/v1/MutatingAdmissionPolicy for it")
	}
	s.said = served
	return policiesInterval
}

// suggestions returns what has to run for --suggest-admission-policy.
func (r *resyncOptions) suggestions(api *clients, counters *metrics.Metrics, log logr.Logger) []manager.Runnable {
	if !r.suggestPolicy {
		return nil
	}
	return []manager.Runnable{&suggestion{
		served: func() (bool, error) { return servesPolicies(api.discovery) },
		back:   api.connection.back,
		unused: counters.PoliciesUnused,
		log:    log,
		clock:  clock.RealClock{},
	}}
}

// servesPolicies asks the API server whether it serves MutatingAdmissionPolicies, in a version that the chart has.
func servesPolicies(d discovery.ServerResourcesInterface) (bool, error) {
	version, err := cluster.PolicyVersion(d)
	return version != "", err
}
