// Package lead elects, among several processes, the one that acts. It has two policies over one Lease:
//
//   - [Sole]: only the holder of the Lease works. A process that loses it ends, so that two never work at the same time.
//     This is how cert-manager's cainjector does it, and so does a caject in its place, by the same Lease.
//   - [Shared]: every process works. The holder acts at once, the others a moment later on what is still wrong then. So
//     the Lease saves work, but nothing depends on it: losing it ends nothing, and whoever cannot read it acts at once.
//
// A Lead is made before the parts that ask it, and runs beside them:
//
//	leader, err := lead.New(lead.Options{Mode: lead.Shared, Lease: lease, …}, config, httpClient)
//	leader.OnElected(queue.AddAll)  // what was left to another holder
//	err = manager.Add(leader)
//
//	<-leader.Acquired()             // in each part: may I work?
//	if !leader.Leads() { wait() }   // at each piece of work: am I the one to act at once?
//
// [Always] is for a process that runs alone: it leads, and takes part in no election.
//
// What this package cannot promise: the holder's requests that are on their way when it loses the Lease, or releases it,
// may still arrive. Guard each write by the resourceVersion of what it is based on.
package lead

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Mode says what those do who do not hold the Lease.
type Mode int

const (
	// Shared has them work, a moment behind the holder.
	Shared Mode = iota
	// Sole has them wait.
	Sole
)

// Options say who elects, and how. Those of time are as in client-go: RetryPeriod < RenewDeadline < LeaseDuration.
type Options struct {
	// Mode is Shared by default.
	Mode Mode
	// Lease is the object that the election is about.
	Lease types.NamespacedName
	// LeaseDuration is how long after the holder's last sign of life another process takes over.
	LeaseDuration time.Duration
	// RenewDeadline is how long the holder tries to renew the Lease before it gives up.
	RenewDeadline time.Duration
	// RetryPeriod is the time between two tries to acquire or renew it.
	RetryPeriod time.Duration
	// Events, if set, records on the Lease who began and ceased to lead.
	Events resourcelock.EventRecorder
	// Owner, if set, says what the garbage collector is to remove the Lease with; nil if nothing. It is asked before the first write,
	// and again before the next one if that fails.
	Owner func(context.Context) (*metav1.OwnerReference, error)
}

// Lead takes part in an election, and knows how it stands. It is a runnable of controller-runtime's manager.
type Lead struct {
	mode     Mode
	config   leaderelection.LeaderElectionConfig
	lease    *lease // nil for Always
	elected  []func()
	acquired chan struct{} // closed once this process may begin to work
	holds    atomic.Bool
}

// New returns a Lead. It asks the API server nothing before Start. The error says which of the options cannot be.
func New(o Options, config *rest.Config, httpClient *http.Client) (*Lead, error) {
	leases, err := coordinationv1client.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	return newLead(o, &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: o.Lease.Namespace, Name: o.Lease.Name},
		Client:     &owned{LeasesGetter: leases, owner: o.Owner},
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID()), EventRecorder: o.Events},
	})
}

func newLead(o Options, lock resourcelock.Interface) (*Lead, error) {
	l := &Lead{mode: o.Mode, acquired: make(chan struct{})}
	// Half of the deadline: one request that hangs does not lose the Lease.
	l.lease = &lease{Interface: lock, timeout: max(o.RenewDeadline/2, time.Second), log: logr.Discard()}
	l.config = leaderelection.LeaderElectionConfig{
		Name:            o.Lease.Name,
		Lock:            l.lease,
		LeaseDuration:   o.LeaseDuration,
		RenewDeadline:   o.RenewDeadline,
		RetryPeriod:     o.RetryPeriod,
		ReleaseOnCancel: true,
		Callbacks:       leaderelection.LeaderCallbacks{OnStartedLeading: l.lead, OnStoppedLeading: func() {}},
	}
	if _, err := leaderelection.NewLeaderElector(l.config); err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	if o.Mode == Shared {
		close(l.acquired)
	}
	return l, nil
}

// Always returns a Lead that leads from the beginning, without any election. It calls nobody: see OnElected.
func Always() *Lead {
	l := &Lead{acquired: make(chan struct{})}
	close(l.acquired)
	return l
}

// Leads reports whether this process is to act at once. With Sole it is the holder's alone to act; with Shared this is also
// true while no other holder is known: before the first look at the Lease, while it is forbidden, and once its holder has
// given no sign of life for the duration that it claimed, as when the API server is away.
func (l *Lead) Leads() bool {
	switch {
	case l.lease == nil:
		return true
	case l.mode == Sole:
		return l.holds.Load()
	}
	return !l.lease.heldByOther()
}

// Holds reports whether this process is the one that was elected, or runs alone. Unlike Leads it is true of one process at a time, but for
// the moment in which one that was frozen finds out.
func (l *Lead) Holds() bool { return l.lease == nil || l.holds.Load() }

// Acquired returns a channel that is closed once this process may begin to work: from the beginning with Shared, when it is
// first elected with Sole.
func (l *Lead) Acquired() <-chan struct{} { return l.acquired }

// OnElected has f called each time this process becomes the holder, when Leads is true already: for what it has left to
// another holder before. f must not block. Call OnElected before Start.
func (l *Lead) OnElected(f func()) { l.elected = append(l.elected, f) }

// NeedLeaderElection implements controller-runtime's LeaderElectionRunnable: this is the election.
func (l *Lead) NeedLeaderElection() bool { return false }

// Start takes part until ctx ends, and then releases the Lease. With Sole it returns an error when the Lease is lost, at
// which the manager, and so the process, ends.
func (l *Lead) Start(ctx context.Context) error {
	switch {
	case l.lease == nil:
		<-ctx.Done()
		return nil
	case l.mode == Sole:
		l.run(logr.NewContext(ctx, log.FromContext(ctx).WithName("leaderelection")))
		if ctx.Err() == nil {
			return errors.New("leader election lost")
		}
		return nil
	}
	// The elector would log each try that fails. The lease says once what an operator must know.
	l.lease.log = log.FromContext(ctx)
	quiet := logr.NewContext(ctx, logr.Discard())
	wait.JitterUntilWithContext(quiet, l.run, time.Second, 0.5, true)
	return nil
}

// run takes part until ctx ends or this process, once elected, has lost the Lease.
func (l *Lead) run(ctx context.Context) {
	elector, err := leaderelection.NewLeaderElector(l.config)
	if err != nil {
		return // it cannot be: newLead has tried it
	}
	elector.Run(ctx)
}

// lead notes that this process holds the Lease, which it does until ctx ends. The elector calls it in a goroutine of its own,
// which may come late.
func (l *Lead) lead(ctx context.Context) {
	l.holds.Store(true)
	context.AfterFunc(ctx, func() { l.holds.Store(false) })
	select {
	case <-l.acquired:
	default:
		close(l.acquired)
	}
	for _, f := range l.elected {
		f()
	}
}
