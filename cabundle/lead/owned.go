package lead

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// owned has the Leases that are written through it owned by what owner says, so that none stays behind. The lock of client-go has no place
// for that. It is used by one goroutine, the elector's.
type owned struct {
	coordinationv1client.LeasesGetter
	owner func(context.Context) (*metav1.OwnerReference, error) // nil once it has answered
	known *metav1.OwnerReference
}

// Leases implements [coordinationv1client.LeasesGetter].
func (o *owned) Leases(namespace string) coordinationv1client.LeaseInterface {
	return ownedLeases{o.LeasesGetter.Leases(namespace), o}
}

// own returns lease with its owner. One that is not known yet must not hold up the election: the next write has it.
func (o *owned) own(ctx context.Context, lease *coordinationv1.Lease) *coordinationv1.Lease {
	if o.owner != nil {
		known, err := o.owner(ctx)
		if err != nil {
			log.FromContext(ctx).V(1).Info("Not known yet who owns the Lease", "error", err.Error())
			return lease
		}
		o.known, o.owner = known, nil
	}
	if o.known != nil {
		lease = lease.DeepCopy()
		lease.OwnerReferences = []metav1.OwnerReference{*o.known}
	}
	return lease
}

// ownedLeases are the Leases of one namespace.
type ownedLeases struct {
	coordinationv1client.LeaseInterface
	owned *owned
}

// Create implements [coordinationv1client.LeaseInterface].
func (l ownedLeases) Create(ctx context.Context, lease *coordinationv1.Lease, o metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return l.LeaseInterface.Create(ctx, l.owned.own(ctx, lease), o)
}

// Update implements [coordinationv1client.LeaseInterface].
func (l ownedLeases) Update(ctx context.Context, lease *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return l.LeaseInterface.Update(ctx, l.owned.own(ctx, lease), o)
}
