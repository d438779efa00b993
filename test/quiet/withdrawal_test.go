package quiet

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// withdrawals are about Secrets whose owners do not want them to be injected any more. Their targets keep what they hold.
var withdrawals = []scenario{
	{name: "opt-in withdrawn", slug: "withdrawn", warns: true, play: withdrawn},
	{name: "opt-in withdrawn, given again, and then a rotation", slug: "given", warns: true, play: given},
}

func withdrawn(ctx context.Context, a *act) error {
	first, second := a.ca("1"), a.ca("2")
	a.lastly = func(ctx context.Context) error { return a.checkPublished(ctx, must()) }
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error { return a.hold(ctx, must(first, second)) },
		func() error { return a.withdraw(ctx) },
	)
}

// withdraw takes back that the Secret may be injected, and waits until that is known.
func (a *act) withdraw(ctx context.Context) error {
	return steps(
		func() error { return a.change(ctx, func(s *corev1.Secret) { s.Annotations = nil }) },
		func() error { return a.notReady(ctx, cabundle.SourceNotAllowed) },
		func() error { return a.publish(ctx, must()) },
	)
}

func given(ctx context.Context, a *act) error {
	first, second, third := a.ca("1"), a.ca("2"), a.ca("3")
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error { return a.hold(ctx, must(first, second)) },
		func() error { return a.withdraw(ctx) },
		func() error {
			return a.change(ctx, func(s *corev1.Secret) { s.Annotations = playground.NewSecret("", "", nil).Annotations })
		},
		func() error { return a.publish(ctx, bundle{}.may(first).must(second)) },
		func() error { return a.rotate(ctx, third) },
		func() error { return a.hold(ctx, must(first, second, third)) },
	)
}
