package field

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// wiper is somebody who applies a configuration with a value in place of its caBundles, over and over.
type wiper struct {
	name  string
	value string // what stands in place of a caBundle
	every time.Duration
	times int
	// bareMost is for how long the configuration may be without a certificate after each of them, on a machine that is busy.
	bareMost time.Duration
}

// Argo CD, Flux or a cron job apply a manifest with caBundle: Cg== over and over, and calls fail until the injector is back.
func TestAPlaceholderIsAppliedOverAndOver(t *testing.T) {
	const noPEM = "-----BEGIN CERTIFICATE-----\nto be replaced\n-----END CERTIFICATE-----\n" // the policies take it for one
	for _, w := range []wiper{
		{"often", "\n", time.Second, 15, 8 * time.Second},
		{"seldom", "\n", 11 * time.Second, 8, 3 * time.Second},
		{"unlike", noPEM, 11 * time.Second, 8, 3 * time.Second},
	} {
		t.Run(w.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, f *field) { f.wipe(t, w) })
		})
	}
}

// wipe plays w on a configuration of its own, and says whether it was filled in time, and whoever is at it named.
func (f *field) wipe(t *testing.T, w wiper) {
	ca := playground.NewCA(w.name)
	f.create(t, playground.NewSecret(trial.Namespace, "wiped-"+w.name, ca))
	object := playground.NewValidating("wiped-"+w.name, 1, playground.FromSecret(trial.Namespace, "wiped-"+w.name))
	f.create(t, object)
	f.filled(t, object, ca)
	patch := client.RawPatch(types.JSONPatchType, []byte(
		`[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"`+base64.StdEncoding.EncodeToString([]byte(w.value))+`"}]`))
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() { longest <- f.longestBare(t.Context(), client.ObjectKeyFromObject(object), stop) }()
	for range w.times {
		if err := f.Client.Patch(t.Context(), object.DeepCopy(), patch, client.FieldOwner("argocd-controller")); err != nil {
			t.Error(err)
		}
		if err := playground.Sleep(t.Context(), w.every); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if most := <-longest; most > w.bareMost {
		t.Errorf("it was without a certificate for %s", most)
	}
	f.filled(t, object, ca)
	if !f.policies {
		f.event(t, object, "TargetContested", `"argocd-controller" keeps emptying the caBundle`)
	}
}

// longestBare looks at a configuration until stop is closed, and returns the longest time in which it was without a certificate.
func (f *field) longestBare(ctx context.Context, key client.ObjectKey, stop <-chan struct{}) (longest time.Duration) {
	since := time.Now()
	for {
		select {
		case <-stop:
			return longest
		case <-time.After(50 * time.Millisecond):
		}
		object := playground.NewValidating(key.Name, 0, nil)
		if err := f.Client.Get(ctx, key, object); err != nil {
			continue // it is the other party's to say
		}
		if playground.HoldsNone(object) {
			longest = max(longest, time.Since(since))
		} else {
			since = time.Now()
		}
	}
}

// event waits for an Event on object of the given reason, whose text has part in it.
func (f *field) event(t *testing.T, object client.Object, reason, part string) {
	t.Helper()
	eventually(t, "Event "+reason+" on "+object.GetName(), func(ctx context.Context) error {
		events, err := playground.EventsOn(ctx, f.Client, object)
		if err == nil && !slices.ContainsFunc(events, func(event corev1.Event) bool {
			return event.Reason == reason && strings.Contains(event.Message, part)
		}) {
			err = errors.New("there is none that says " + part)
		}
		return err
	})
}
