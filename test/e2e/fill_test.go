package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
)

// strict installs the chart for a test of what its policies do, without caject. An expression that fails makes the request fail, so that it
// does not go unseen.
func strict(t *testing.T, values ...string) *installation {
	t.Helper()
	i := own(t, values...)
	var policies admissionregistrationv1.MutatingAdmissionPolicyList
	if len(i.policyKinds(t, playground.Fill)) == 0 {
		return i
	}
	if err := i.client.List(t.Context(), &policies); err != nil {
		t.Fatal(err)
	}
	fail := admissionregistrationv1.Fail
	for _, policy := range policies.Items {
		policy.Spec.FailurePolicy = &fail
		if err := i.client.Update(t.Context(), &policy); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// asCaject returns a client whose requests the admission policies take for caject's; every role allows them.
func (i *installation) asCaject(t *testing.T) client.Client {
	t.Helper()
	config := rest.CopyConfig(i.control.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + playground.Namespace + ":caject", Groups: []string{"system:masters"},
	}
	c, err := playground.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shard publishes entries, by source, and waits until the policies, if there are any, fill from them. It publishes a source of its own besides.
func (i *installation) shard(t *testing.T, name string, entries map[string]string) {
	t.Helper()
	marker, ca := "secret/shard/"+name, playground.NewCA(name)
	all := map[string]string{marker: playground.Entry(ca)}
	for source, entry := range entries {
		all[source] = entry
	}
	if err := i.asCaject(t).Create(t.Context(), playground.NewShard(name, all)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range i.policyKinds(t, playground.Fill) {
		make := kinds[kind]
		eventually(t, fmt.Sprintf("fill %s from shard %s", kind, name), func(ctx context.Context) error {
			probe := make("probe", map[string]string{cabundle.InjectAnnotation: marker})
			if err := i.client.Create(ctx, probe, client.DryRunAll); err != nil {
				return err
			}
			return playground.Holds(probe, ca)
		})
	}
}

// answer returns what the caBundles of object would be if it were created, or updated if update is true.
func (i *installation) answer(t *testing.T, object client.Object, update bool) [][]byte {
	t.Helper()
	answer := object.DeepCopyObject().(client.Object)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // the API server writes the status of some
		answer = object.DeepCopyObject().(client.Object)
		if !update {
			return i.client.Create(t.Context(), answer, client.DryRunAll)
		}
		now := object.DeepCopyObject().(client.Object)
		if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(object), now); err != nil {
			return err
		}
		answer.SetResourceVersion(now.GetResourceVersion())
		return i.client.Update(t.Context(), answer, client.DryRunAll)
	})
	if err != nil {
		t.Error(err)
	}
	return playground.CABundles(answer)
}

// TestThePoliciesFill is about each single field: what it holds, and held before, and what is published.
func TestThePoliciesFill(t *testing.T) {
	t.Parallel()
	i := strict(t)
	ca, former, older, foreign := playground.NewCA("ca"), playground.NewCA("former"), playground.NewCA("older"), playground.NewCA("foreign")
	i.shard(t, "one", map[string]string{
		"secret/e2e/good":    playground.Entry(ca, older, former),
		"secret/e2e/emptied": playground.Entry(nil, former),
		"secret/e2e/text":    "what,is-not=base64 " + playground.Entry(former),
		"secret/e2e/uneven":  playground.Entry(ca)[1:],
		"secret/e2e/padded":  playground.Entry(ca) + "====",
		"secret/e2e/empty":   "",
	})
	i.shard(t, "two", map[string]string{"secret/e2e/another": playground.Entry(former)})
	of, number := i.policyKinds(t, playground.Fill), 0
	for kind, make := range kinds {
		if !slices.Contains(of, kind) {
			i.leftToCaject(t, make("left"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "good")))
		}
	}
	for sentence, test := range fillings(ca, former, older, foreign) {
		for _, kind := range of {
			make := kinds[kind]
			number++
			name := fmt.Sprintf("n%d", number)
			annotations := playground.FromSecret(namespace, test.source)
			if test.old != nil {
				old := make(name, nil) // without the annotation it is stored as it is
				playground.SetCABundles(old, test.old)
				i.create(t, old)
			}
			object := make(name, annotations)
			playground.SetCABundles(object, test.held)
			for n, got := range i.answer(t, object, test.old != nil) {
				if !bytes.Equal(got, test.want) {
					t.Errorf("%s: %s: caBundle %d is %.60q", kind, sentence, n, got)
				}
			}
		}
	}

	i.seesWhatHoldsNone(t, ca)
	if len(of) > 0 {
		i.fillsMany(t, ca, former, foreign)
	}
}

// leftToCaject fails the test unless object is stored as somebody writes it, where no policy fills its kind.
func (i *installation) leftToCaject(t *testing.T, object client.Object) {
	t.Helper()
	for _, value := range [][]byte{nil, []byte("\n"), playground.NewCA("held")} {
		playground.SetCABundles(object, value)
		for _, got := range i.answer(t, object, false) {
			if !bytes.Equal(got, value) {
				t.Errorf("%s holds %.60q in place of %.60q", object.GetName(), got, value)
			}
		}
	}
}

// filling is a field that holds something, and held something before the update, or nil for a create or an absent field.
type filling struct {
	source          string // in namespace e2e
	held, old, want []byte
}

func fillings(ca, former, older, foreign []byte) map[string]filling {
	return map[string]filling{
		"a field that is absent":                           {"good", nil, nil, ca},
		"from another shard":                               {"another", nil, nil, former},
		"what was published before":                        {"good", former, nil, ca},
		"what was published long before":                   {"good", older, former, ca},
		"what is published stays":                          {"good", ca, ca, ca},
		"other certificates stay":                          {"good", foreign, nil, foreign},
		"other certificates beside it stay":                {"good", append(bytes.Clone(foreign), former...), former, append(bytes.Clone(foreign), former...)},
		"an update that empties what was published before": {"good", nil, former, ca},
		"an update that empties what is published":         {"good", []byte("\n"), ca, ca},
		"an update of a placeholder":                       {"good", []byte("\n"), []byte("text"), ca},
		"a source that is not published":                   {"unknown", nil, nil, nil},
		"a source of which nothing is to be filled in":     {"emptied", []byte("\n"), nil, []byte("\n")},
		"nor in the place of what was published before":    {"emptied", former, former, former},
		"a source whose entry is empty":                    {"empty", []byte("\n"), nil, []byte("\n")},
		"an entry that is not base64 is left alone":        {"text", nil, nil, nil},
		"as one whose length no base64 has":                {"uneven", nil, nil, nil},
		"as one that is padded too much":                   {"padded", []byte("\n"), nil, []byte("\n")},
	}
}

// seesWhatHoldsNone tries the cases of what holds no certificate.
func (i *installation) seesWhatHoldsNone(t *testing.T, ca []byte) {
	t.Helper()
	of := i.policyKinds(t, playground.Fill)
	for sentence, test := range cabundletest.Held(time.Now()) {
		for _, kind := range of {
			object := kinds[kind](strings.ToLower(string(kind)), playground.FromSecret(namespace, "good"))
			playground.SetCABundles(object, test.CABundle)
			want := test.CABundle
			if test.Empty && !test.Lines {
				want = ca
			}
			if err := i.client.Create(t.Context(), object, client.DryRunAll); err != nil {
				t.Errorf("%s: %s: %v", kind, sentence, err)
			} else if err := playground.Holds(object, want); err != nil {
				t.Errorf("%s: %s: %v", kind, sentence, err)
			}
		}
	}
}

// fillsMany is about objects with several fields.
func (i *installation) fillsMany(t *testing.T, ca, former, foreign []byte) {
	t.Helper()
	annotations := playground.FromSecret(namespace, "good")
	mixed := playground.NewValidating("mixed", 6, annotations)
	playground.SetEachCABundle(mixed, [][]byte{nil, foreign, former, []byte("\n"), ca, foreign})
	want := [][]byte{ca, foreign, ca, ca, ca, foreign}
	for n, got := range i.answer(t, mixed, false) {
		if !bytes.Equal(got, want[n]) {
			t.Errorf("webhook %d of six holds %.60q", n, got)
		}
	}
	// A webhook that moves keeps what it held: the same is the one of the same name.
	old := playground.NewMutating("moved", 3, nil)
	playground.SetEachCABundle(old, [][]byte{former, []byte("\n"), ca})
	i.create(t, old)
	moved := playground.NewMutating("moved", 4, annotations)
	moved.Webhooks[0].Name, moved.Webhooks[2].Name = moved.Webhooks[2].Name, moved.Webhooks[0].Name
	for n, got := range i.answer(t, moved, true) {
		if !bytes.Equal(got, ca) {
			t.Errorf("webhook %d of those that moved holds %.60q", n, got)
		}
	}
	for sentence, held := range map[string][]byte{"empty": nil, "placeholders": []byte("\n"), "rotated": former, "text": bytes.Repeat([]byte("text "), 40)} {
		many := playground.NewMutating("many", 250, annotations)
		playground.SetCABundles(many, held)
		for n, got := range i.answer(t, many, false) {
			if !bytes.Equal(got, ca) {
				t.Fatalf("250 webhooks, %s: number %d holds %.60q", sentence, n, got)
			}
		}
	}
	i.staysAwayFromTheLimit(t)
}

// staysAwayFromTheLimit is about objects that would come near etcd's limit: they are left to caject, which says so.
func (i *installation) staysAwayFromTheLimit(t *testing.T) {
	t.Helper()
	var large []byte
	for n := 0; len(large) < 60<<10; n++ {
		large = append(large, playground.NewCA(strings.Repeat("x", 60)+fmt.Sprint(n))...)
	}
	i.shard(t, "large", map[string]string{"secret/e2e/large": playground.Entry(large)})
	for n, want := range map[int][]byte{11: large, 13: nil} {
		object := playground.NewValidating("large", n, playground.FromSecret(namespace, "large"))
		for _, got := range i.answer(t, object, false) {
			if !bytes.Equal(got, want) {
				t.Fatalf("%d webhooks: one holds %d bytes, not %d", n, len(got), len(want))
			}
		}
	}
}
