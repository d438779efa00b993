package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// These tests are about a fault of Kubernetes' own (seen in 1.37): once no policy has parameters of a built-in kind any more, the API server
// stops following that kind, and does not begin again before it is started anew. What caject does itself is right meanwhile.

// TestInstalledAgainThePoliciesWaitForTheAPIServer: the policies fill what was published when they went, or nothing.
func TestInstalledAgainThePoliciesWaitForTheAPIServer(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	ca := playground.NewCA("again")
	i.create(t, playground.NewSecret(namespace, "again", ca))
	process := i.lives(t, "first", ca)
	policies := i.byPolicy(t, cabundle.ValidatingWebhookConfiguration)
	if policies {
		i.policiesFill(t, "again", ca)
	}
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := i.control.Helm(t.Context(), "uninstall", "caject", "--namespace", playground.Namespace, "--wait"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // the API server looks once a second whether policies have gone
	var err error
	if i.Installation, err = playground.Install(t.Context(), i.control, "resyncInterval=1s"); err != nil {
		t.Fatal(err)
	}
	second := i.lives(t, "second", ca)
	secret := playground.NewSecret(namespace, "new", ca)
	i.create(t, secret)
	follows := !policies || i.follows(t, second)
	if err := errors.Join(i.control.KillAPIServer(), i.control.StartAPIServer()); err != nil {
		t.Fatal(err)
	}
	if policies {
		i.policiesFill(t, "again", ca)
	}
	if follows {
		return
	}
	// caject does not count on a policy for some seconds after one has not filled.
	if err := playground.Eventually(t.Context(), 2*time.Minute, 5*time.Second, func(ctx context.Context) error {
		if strings.Contains(second.ReadLog(), "The admission policies fill ValidatingWebhookConfigurations again") {
			return nil
		}
		secret.Data["ca.crt"] = playground.NewCA("next")
		return errors.Join(errors.New("caject does not say that policies fill again"), i.client.Update(ctx, secret))
	}); err != nil {
		t.Error(err)
	}
}

// TestSwitchedOnAgainThePoliciesFillWhatWasPublished: they fill what was published when they were switched off, and caject adds the rest.
func TestSwitchedOnAgainThePoliciesFillWhatWasPublished(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	ca, next := playground.NewCA("again"), playground.NewCA("next")
	secret := playground.NewSecret(namespace, "again", ca)
	i.create(t, secret)
	process := i.lives(t, "first", ca)
	policies := i.byPolicy(t, cabundle.ValidatingWebhookConfiguration)
	if policies {
		i.policiesFill(t, "again", ca)
	}
	for n, enabled := range []string{"false", "auto"} {
		if err := errors.Join(i.Upgrade(t.Context(), i.control, "resyncInterval=1s", "policy.enabled="+enabled), process.Stop()); err != nil {
			t.Fatal(err)
		}
		process = i.run(t, fmt.Sprintf("upgraded%d.log", n))
		if err := process.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if enabled == "false" {
			time.Sleep(2 * time.Second) // the API server looks once a second whether policies have gone
			secret.Data["ca.crt"] = next
			if err := i.client.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			i.policiesRead(t, "secret/e2e/again", ca, next)
		}
	}
	answer := i.answer(t, playground.NewValidating("answered", 1, playground.FromSecret(namespace, "again")), false)
	t.Logf("before the API server is started anew, policies fill in %d bytes; a CA has %d", len(answer[0]), len(ca))
	target := playground.NewValidating("stored", 1, playground.FromSecret(namespace, "again"))
	i.create(t, target)
	eventually(t, "both CAs are in it", func(ctx context.Context) error {
		err := i.client.Get(ctx, client.ObjectKeyFromObject(target), target)
		// A caject that has just started may know the source's CA before its former one: their order is not fixed.
		if held := target.Webhooks[0].ClientConfig.CABundle; err == nil && !(bytes.Contains(held, ca) && bytes.Contains(held, next)) {
			err = fmt.Errorf("it holds %d certificates", bytes.Count(held, []byte("BEGIN")))
		}
		return err
	})
	if err := errors.Join(i.control.KillAPIServer(), i.control.StartAPIServer()); err != nil {
		t.Fatal(err)
	}
	if policies {
		i.policiesFill(t, "again", slices.Concat(ca, next))
	}
}

// follows reports whether policies fill webhook configurations from Secret new, which nobody had published before. If they do not, it waits
// until caject, which meets one after the other, says so.
func (i *installation) follows(t *testing.T, process *playground.Process) (fills bool) {
	t.Helper()
	n := 0
	if err := playground.Eventually(t.Context(), 2*time.Minute, 5*time.Second, func(ctx context.Context) error {
		n++
		if err := i.client.Create(ctx, playground.NewValidating(fmt.Sprintf("met%d", n), 1, playground.FromSecret(namespace, "new"))); err != nil {
			return err
		}
		answer := i.answer(t, playground.NewValidating("answered", 1, playground.FromSecret(namespace, "new")), false)
		if fills = len(answer[0]) > 0; fills || strings.Contains(process.ReadLog(), "The admission policies do not fill ValidatingWebhookConfigurations") {
			return nil
		}
		return errors.New("caject does not say so")
	}); err != nil {
		t.Error(err)
	}
	t.Logf("after %d webhook configurations: policies fill them: %t", n, fills)
	return fills
}

// lives runs caject, and has it fill a webhook configuration from Secret again.
func (i *installation) lives(t *testing.T, name string, ca []byte) *playground.Process {
	t.Helper()
	process := i.run(t, name+".log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	target := playground.NewValidating(name, 1, playground.FromSecret(namespace, "again"))
	i.create(t, target)
	i.filled(t, target, ca)
	return process
}

// policiesFill waits until the policies fill a webhook configuration from a Secret.
func (i *installation) policiesFill(t *testing.T, secret string, ca []byte) {
	t.Helper()
	eventually(t, "the policies fill", func(context.Context) error {
		answer := i.answer(t, playground.NewValidating("answered", 1, playground.FromSecret(namespace, secret)), false)
		if !bytes.Equal(answer[0], ca) {
			return fmt.Errorf("it holds %.20q", answer[0])
		}
		return nil
	})
}
