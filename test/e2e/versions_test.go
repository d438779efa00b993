package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// policyKinds are the kinds for which this API server evaluates the chart's policies of a verb. Tests that need one ask this, not the
// version: where there is none, they look at what users get instead.
func (i *installation) policyKinds(t *testing.T, verb string) []cabundle.Kind {
	t.Helper()
	of, err := playground.PolicyKinds(t.Context(), i.client, verb)
	if err != nil {
		t.Fatal(err)
	}
	return of
}

// byPolicy reports whether this API server's policies fill a kind.
func (i *installation) byPolicy(t *testing.T, kind cabundle.Kind) bool {
	t.Helper()
	return slices.Contains(i.policyKinds(t, playground.Fill), kind)
}

// atOnce reports whether a kind is filled in the request that writes it: by webhook or by policy.
func (i *installation) atOnce(t *testing.T, kind cabundle.Kind) bool {
	t.Helper()
	return kind.Admitted() || i.byPolicy(t, kind)
}

// published waits until Secret e2e/name is published, and the policy, if there is one, fills from it: an API server sees a shard a
// little later than it is written.
func (i *installation) published(t *testing.T, name string) {
	t.Helper()
	if !i.byPolicy(t, cabundle.MutatingWebhookConfiguration) {
		eventually(t, "publish "+name, func(ctx context.Context) error {
			published, err := playground.Published(ctx, i.client)
			if err == nil && len(published["secret/"+namespace+"/"+name]) == 0 {
				err = errors.New("it is not published")
			}
			return err
		})
		return
	}
	eventually(t, "fill from "+name+" by policy", func(ctx context.Context) error {
		probe := playground.NewMutating("probe-"+name, 1, playground.FromSecret(namespace, name))
		if err := i.client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if len(playground.CABundles(probe)[0]) == 0 {
			return errors.New("it is empty in the answer to the create")
		}
		return nil
	})
}

// TestThereArePoliciesWhereTheyAreServed is what lets the other tests ask for policies.
func TestThereArePoliciesWhereTheyAreServed(t *testing.T) {
	t.Parallel()
	served, err := playground.ServesPolicies(shared.control.Config)
	if err != nil {
		t.Fatal(err)
	}
	used := slices.Contains(shared.Args, "--admission-policy")
	of := shared.policyKinds(t, playground.Fill)
	if used != served || served != (len(of) > 0) {
		t.Errorf("policies are served: %t, caject uses them: %t, installed for %q", served, used, of)
	}
	configurations := []cabundle.Kind{cabundle.MutatingWebhookConfiguration, cabundle.ValidatingWebhookConfiguration}
	for _, kind := range configurations { // no webhook is called for them
		if served && !slices.Contains(of, kind) {
			t.Errorf("none fills %s", kind)
		}
	}
	version, err := discovery.NewDiscoveryClientForConfigOrDie(shared.control.Config).ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	filled := "no kind"
	if len(of) > 0 {
		filled = fmt.Sprint(len(of), " kinds")
	}
	t.Logf("the API server is %s; policies fill %s", version.GitVersion, filled) // command versions reads this
	if kept := shared.policyKinds(t, playground.Keep); served != slices.Contains(kept, cabundle.APIService) {
		t.Errorf("policies are served: %t, and keep %q", served, kept)
	}
}

// waitsForCaject is about a cluster without policies whose caject stands still: what loses its bundle then gets it back once it is there again.
func (i *installation) waitsForCaject(t *testing.T, process *playground.Process, targets map[cabundle.Kind]client.Object, ca []byte) {
	t.Helper()
	for kind, target := range targets {
		i.edit(t, target, nil)
		if err := playground.Holds(target, nil); err != nil {
			t.Errorf("%s: without policy and caject: %v", kind, err)
		}
	}
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		i.filled(t, target, ca)
		i.ownerless(t, target)
	}
}
