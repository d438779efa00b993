package quiet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// distrustAnnotation of a Secret names certificates that it has supplied and that nobody is to trust any more: their
// fingerprints (SHA-256 of the DER, in hex), separated by commas.
const distrustAnnotation = "caject.io/distrust"

// distrust is about certificates that the Secret's owner withdraws, as when a key has leaked.
var distrust = []scenario{
	{name: "the owner distrusts a certificate that the source still holds", slug: "leaked", uncounted: true, warns: true, play: leaked},
	{name: "the owner distrusts a certificate that has left the source", slug: "leakedformer", uncounted: true, warns: true, play: leakedFormer},
}

// leaked has two certificates in the source, of which one is distrusted. It is so for ever, whatever becomes of the annotation.
func leaked(ctx context.Context, a *act) error {
	bad, good, next := a.ca("bad"), a.ca("good"), a.ca("next")
	return steps(
		func() error { return a.begin(ctx, bad, good) },
		func() error { return a.distrust(ctx, bad) },
		func() error { return a.hold(ctx, must(good)) },
		func() error { return a.publish(ctx, must(good)) },
		func() error { return a.resetAndHold(ctx, must(good)) },

		// The Secret is made again, without the annotation.
		func() error { return a.remove(ctx) },
		func() error { return a.create(ctx, bad, good, next) },
		func() error { return a.hold(ctx, must(good, next)) },
		func() error { return a.publish(ctx, must(good, next)) },
		func() error { return a.resetAndHold(ctx, must(good, next)) },
	)
}

// leakedFormer distrusts a certificate that is in the targets only because it has not expired, and one of somebody else's.
func leakedFormer(ctx context.Context, a *act) error {
	bad, good, foreign := a.ca("bad"), a.ca("good"), a.ca("foreign")
	neighbour := &act{stage: a.stage, scenario: a.scenario, source: "neighbour", names: a.names}
	neighbour.scenario.slug = "neighbour"
	a.lastly = func(ctx context.Context) error { return neighbour.finally(ctx) }
	return steps(
		func() error { return neighbour.begin(ctx, foreign) },
		func() error { return a.begin(ctx, bad) },
		func() error { return a.rotate(ctx, good) },
		func() error { return a.hold(ctx, must(bad, good)) },
		func() error { return a.distrust(ctx, foreign, bad) },
		func() error { return a.hold(ctx, must(good)) },
		func() error { return a.publish(ctx, must(good)) },
		func() error { return a.resetAndHold(ctx, must(good)) },
		func() error { return neighbour.resetAndHold(ctx, must(foreign)) },
	)
}

// distrust has the Secret's owner withdraw certificates.
func (a *act) distrust(ctx context.Context, cas ...[]byte) error {
	var prints []string
	for _, ca := range cas {
		prints = append(prints, fingerprint(ca))
	}
	return a.change(ctx, func(s *corev1.Secret) { s.Annotations[distrustAnnotation] = strings.Join(prints, ",") })
}

// resetAndHold has the targets' manifests applied again, and waits until they hold want and nothing else. The answer to a reset
// must hold nothing else either; it is tried again, for an API server learns a moment later of what is published.
func (a *act) resetAndHold(ctx context.Context, want bundle) error {
	return steps(
		func() error {
			return eventually(ctx, func(ctx context.Context) error {
				if err := a.reset(ctx); err != nil {
					return err
				}
				return a.answered(want)
			})
		},
		func() error { return a.hold(ctx, want) },
	)
}

// answered returns an error if a target, as the API server has answered, holds what is not in want.
func (a *act) answered(want bundle) error {
	for _, target := range a.targets {
		answer := playground.CABundles(target)[0]
		if string(answer) == trial.Placeholder {
			continue // it is to be filled yet
		}
		got, err := split(answer)
		if err != nil {
			return err
		}
		for _, g := range got {
			if !slices.ContainsFunc(want.certificates, func(c certificate) bool { return string(c.pem) == g }) {
				return fmt.Errorf("%T %s was reset, and has got %s, not %s", target, target.GetName(), a.called(got), a.wanted(want))
			}
		}
	}
	return nil
}

// administrators are about a certificate that the chart's values name: no source can supply it.
func administrators(bad []byte) []scenario {
	return []scenario{
		{name: "the administrator distrusts a certificate beside another one", slug: "named", uncounted: true, warns: true,
			play: func(ctx context.Context, a *act) error {
				a.names[string(bad)] = "bad"
				good, next := a.ca("good"), a.ca("next")
				return steps(
					func() error { return a.create(ctx, bad, good) },
					func() error { return a.populate(ctx) },
					func() error { return a.hold(ctx, must(good)) },
					func() error { return a.publish(ctx, must(good)) },
					func() error { return a.rotate(ctx, next, bad) },
					func() error { return a.hold(ctx, must(good, next)) },
					func() error { return a.publish(ctx, must(good, next)) },
					func() error { return a.resetAndHold(ctx, must(good, next)) },
				)
			}},
		{name: "another source of the same certificate", slug: "namedtoo", uncounted: true, warns: true,
			play: func(ctx context.Context, a *act) error {
				a.names[string(bad)] = "bad"
				first, second := a.ca("1"), a.ca("2")
				return steps(
					func() error { return a.begin(ctx, first) },
					func() error { return a.rotate(ctx, bad, second) },
					func() error { return a.hold(ctx, must(first, second)) },
					func() error { return a.resetAndHold(ctx, must(first, second)) },
				)
			}},
	}
}
