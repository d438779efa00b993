package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
)

// TestTheAPIServerReadsAnnotationsAsWeDo tries the cases that caject's own reading of annotations is tried on, on the expressions of the
// chart: what the policies fill, of what they warn, for what the webhook and the hints are called.
func TestTheAPIServerReadsAnnotationsAsWeDo(t *testing.T) {
	t.Parallel()
	i := strict(t, "resyncInterval=1h")
	bundles, entries := map[string][]byte{}, map[string]string{}
	for _, source := range []string{"secret/ns/name", "certificate/ns/name", "apiserver"} {
		bundles[source] = playground.NewCA(source)
		entries[source] = playground.Entry(bundles[source])
	}
	i.shard(t, "grammar", entries)
	i.warns(t)
	byPolicy := i.byPolicy(t, cabundle.MutatingWebhookConfiguration)
	for sentence, test := range cabundletest.Annotations {
		filled, want := bundles[test.Source], []string{}
		if test.Replaces || !byPolicy {
			filled = nil
		}
		warnings := i.probe(t, test.Annotations, filled)
		if test.OtherMode {
			want = append(want, "is neither merge nor replace")
		}
		if test.Invalid != "" {
			want = append(want, "is not ")
		}
		if test.Padded != "" {
			want = append(want, "annotation "+test.Padded+" is left out")
		}
		if test.Misspelt != "" {
			want = append(want, "annotation "+test.Misspelt+" is not followed: it is "+test.Meant)
		}
		for _, words := range want {
			if len(warnings.about(words)) != 1 {
				t.Errorf("%s: the warnings are %q, without %q", sentence, warnings.all, words)
			}
		}
		if len(warnings.all) != len(want) || len(fmt.Sprint(warnings.all)) > 1000 {
			t.Errorf("%s: the warnings are %q", sentence, warnings.all)
		}
	}

	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.called(t)
	expect := i.hintsSince(t)
	for sentence, test := range cabundletest.OptIns {
		secret := playground.NewSecret(namespace, "optin", playground.NewCA("optin"))
		secret.Annotations = test.Annotations
		before := len(i.warnings.about("is left out", test.Padded))
		i.create(t, secret)
		hints := 0.0
		if test.Directly || test.Certificate != "" {
			hints = 1
		}
		expect(sentence, hints)
		if padded := len(i.warnings.about("is left out", test.Padded)) - before; hints > 0 && (padded == 1) != (test.Padded != "") {
			t.Errorf("%s: %d warnings of white space", sentence, padded)
		}
		if err := i.client.Delete(t.Context(), &corev1.Secret{ObjectMeta: secret.ObjectMeta}); err != nil {
			t.Fatal(err)
		}
	}
}

// warns waits until the API server warns of annotations.
func (i *installation) warns(t *testing.T) {
	t.Helper()
	eventually(t, "warn by policy", func(ctx context.Context) error {
		probe := playground.NewMutating("probe", 1, map[string]string{cabundle.InjectAnnotation: "x"})
		if err := i.client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		misspelt := playground.NewMutating("probe", 1, map[string]string{"certmanager.k8s.io/inject-ca-from": "x"})
		if err := i.client.Create(ctx, misspelt, client.DryRunAll); err != nil {
			return err
		}
		if len(i.warnings.about("is not secret/namespace/name")) == 0 || len(i.warnings.about("is not followed")) == 0 {
			return errors.New("no warning")
		}
		return nil
	})
}

// probe fails the test unless webhook configurations with annotations are filled with want in the request that creates them, and
// returns of what the API server warns.
func (i *installation) probe(t *testing.T, annotations map[string]string, want []byte) *warnings {
	t.Helper()
	collected := &warnings{}
	config := rest.CopyConfig(i.control.Config)
	config.WarningHandler = collected
	c, err := playground.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	probe := playground.NewMutating("probe", 2, annotations)
	if err := c.Create(t.Context(), probe, client.DryRunAll); err != nil {
		t.Errorf("%q: %v", annotations, err)
	} else if err := playground.Holds(probe, want); err != nil {
		t.Errorf("%q: %v", annotations, err)
	}
	return collected
}

// called fails the test unless caject is called for APIServices with annotations that ask for injection, and for no others.
func (i *installation) called(t *testing.T) {
	t.Helper()
	for sentence, test := range cabundletest.Annotations {
		calls := i.calls(t, "/inject")
		if err := i.client.Create(t.Context(), playground.NewAPIService("called", test.Annotations), client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		want := 0.0
		if test.Source != "" || test.Invalid != "" || test.Misspelt != "" {
			want = 1
		}
		eventually(t, sentence, func(context.Context) error {
			if got := i.calls(t, "/inject") - calls; got != want {
				return fmt.Errorf("caject was called %v times", got)
			}
			return nil
		})
		if padded := i.warnings.about("caject: the white space", test.Padded); test.Padded != "" && len(padded) == 0 {
			t.Errorf("%s: nobody is warned of the white space", sentence)
		}
	}
}
