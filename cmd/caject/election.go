package main

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/lead"
)

// cainjectorLease is the Lease of cert-manager's cainjector, so that of both, while one takes over from the other, only one works.
const cainjectorLease = "cert-manager-cainjector-leader-election"

// leaderElection says how, of several processes, one is elected.
type leaderElection struct {
	enabled                                   bool
	namespace                                 string
	leaseDuration, renewDeadline, retryPeriod time.Duration
}

func defaultLeaderElection() leaderElection {
	return leaderElection{
		enabled:       true,
		namespace:     "kube-system",
		leaseDuration: 60 * time.Second,
		renewDeadline: 40 * time.Second,
		retryPeriod:   15 * time.Second,
	}
}

func (l *leaderElection) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&l.enabled, "leader-elect", l.enabled,
		"Elect a leader by a Lease: it acts at once, the other processes a moment later on what is still wrong. "+
			"Without --ca-secret only the leader works, and the Lease is "+cainjectorLease+"; with --ca-secret, the Lease has the name of --webhook-configuration.")
	flags.StringVar(&l.namespace, "leader-election-namespace", l.namespace,
		"Namespace of the Lease.")
	flags.DurationVar(&l.leaseDuration, "leader-election-lease-duration", l.leaseDuration,
		"How long after the last renewal by the leader another process takes over.")
	flags.DurationVar(&l.renewDeadline, "leader-election-renew-deadline", l.renewDeadline,
		"How long the leader tries to renew the Lease before it gives up.")
	flags.DurationVar(&l.retryPeriod, "leader-election-retry-period", l.retryPeriod,
		"Time between two tries to acquire or renew the Lease.")
}

// validate checks what client-go's leader election asks for.
func (l *leaderElection) validate(wrong *mistakes) {
	if !l.enabled {
		return
	}
	if len(validation.IsDNS1123Label(l.namespace)) > 0 {
		wrong.add("leader-election-namespace", "%q is not the name of a namespace", l.namespace)
	}
	if l.leaseDuration < time.Second {
		wrong.add("leader-election-lease-duration", "%s is less than a second", l.leaseDuration)
	}
	if l.renewDeadline >= l.leaseDuration {
		wrong.add("leader-election-renew-deadline", "%s is not less than the lease duration, %s", l.renewDeadline, l.leaseDuration)
	}
	if l.retryPeriod <= 0 {
		wrong.add("leader-election-retry-period", "%s is not more than 0", l.retryPeriod)
	}
	if float64(l.renewDeadline) <= leaderelection.JitterFactor*float64(l.retryPeriod) {
		wrong.add("leader-election-retry-period", "%s is not less than the renew deadline, %s, by a fifth", l.retryPeriod, l.renewDeadline)
	}
}

// lead returns this process's part in the election: shared by those that serve admission, else as in cert-manager's cainjector.
func (o *options) lead(config *rest.Config, httpClient *http.Client, api *clients) (*lead.Lead, error) {
	election := o.leaderElection
	if !election.enabled {
		return lead.Always(), nil
	}
	options := lead.Options{
		Mode:          lead.Shared,
		Lease:         types.NamespacedName{Namespace: election.namespace, Name: o.webhookConfiguration},
		LeaseDuration: election.leaseDuration,
		RenewDeadline: election.renewDeadline,
		RetryPeriod:   election.retryPeriod,
		Owner: func(ctx context.Context) (*metav1.OwnerReference, error) {
			return cluster.Account(ctx, api.objects, election.namespace)
		},
	}
	if !o.serves() {
		options.Mode, options.Lease.Name, options.Events, options.Owner = lead.Sole, cainjectorLease, api.events, nil
	}
	return lead.New(options, config, httpClient)
}

// add adds to mgr what works always, and what works once acquired is closed.
func add(mgr manager.Manager, always, elected []manager.Runnable, acquired <-chan struct{}) error {
	for _, runnable := range always {
		if err := mgr.Add(runnable); err != nil {
			return err
		}
	}
	for _, runnable := range elected {
		if err := mgr.Add(standby{runnable, acquired}); err != nil {
			return err
		}
	}
	return nil
}

// standby is a runnable that starts once acquired is closed.
type standby struct {
	manager.Runnable
	acquired <-chan struct{}
}

// Start implements [manager.Runnable].
func (s standby) Start(ctx context.Context) error {
	select {
	case <-s.acquired:
		return s.Runnable.Start(ctx)
	case <-ctx.Done():
		return nil
	}
}

// NeedLeaderElection implements [manager.LeaderElectionRunnable]: it is not the manager that elects.
func (standby) NeedLeaderElection() bool { return false }
