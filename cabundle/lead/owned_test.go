package lead

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// oneLease is the API server with one Lease.
type oneLease struct {
	coordinationv1client.LeaseInterface
	stored *coordinationv1.Lease
}

func (o *oneLease) Leases(string) coordinationv1client.LeaseInterface { return o }

func (o *oneLease) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	return o.stored.DeepCopy(), nil
}

func (o *oneLease) Create(_ context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	o.stored = lease.DeepCopy()
	return lease, nil
}

func (o *oneLease) Update(_ context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return o.Create(context.Background(), lease, metav1.CreateOptions{})
}

func TestWhoOwnsTheLease(t *testing.T) {
	account := metav1.OwnerReference{APIVersion: "v1", Kind: "ServiceAccount", Name: "caject", UID: "2"}
	former := account
	former.UID = "1"
	tests := map[string]struct {
		there []metav1.OwnerReference // of the Lease that is there already
		fails int                     // how often it cannot be told who owns it
		owner *metav1.OwnerReference
		want  [][]metav1.OwnerReference // after each of three updates; before them the Lease is created, or read
		asked int
	}{
		"a new one":                      {nil, 0, &account, [][]metav1.OwnerReference{{account}, {account}, {account}}, 1},
		"one that nobody owns":           {[]metav1.OwnerReference{}, 0, &account, [][]metav1.OwnerReference{{account}, {account}, {account}}, 1},
		"one of an account that is gone": {[]metav1.OwnerReference{former}, 0, &account, [][]metav1.OwnerReference{{account}, {account}, {account}}, 1},
		"not known at first":             {nil, 2, &account, [][]metav1.OwnerReference{nil, {account}, {account}}, 3},
		"it works as nobody's account":   {nil, 0, nil, [][]metav1.OwnerReference{nil, nil, nil}, 1},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			api, asked := &oneLease{stored: &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{OwnerReferences: test.there}}}, 0
			lock := &resourcelock.LeaseLock{Client: &owned{LeasesGetter: api, owner: func(context.Context) (*metav1.OwnerReference, error) {
				if asked++; asked <= test.fails {
					return nil, errors.New("not now")
				}
				return test.owner, nil
			}}}
			if test.there == nil {
				if err := lock.Create(t.Context(), resourcelock.LeaderElectionRecord{}); err != nil {
					t.Fatal(err)
				}
			} else if _, _, err := lock.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got [][]metav1.OwnerReference
			for range test.want {
				if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
					t.Fatal(err)
				}
				got = append(got, api.stored.OwnerReferences)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || asked != test.asked {
				t.Errorf("asked %d times: %s", asked, diff)
			}
			if holder := api.stored.Spec.HolderIdentity; *holder != "a" {
				t.Errorf("it is held by %s", *holder)
			}
		})
	}
}
