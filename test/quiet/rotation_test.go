package quiet

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/test/trial"
)

// hasty is the time between changes that nobody waits for.
const hasty = 200 * time.Millisecond

// rotations are what happens to sources whose owners do nothing unusual.
var rotations = []scenario{
	{name: "nothing happens", slug: "calm", play: func(ctx context.Context, a *act) error { return a.begin(ctx, a.ca("1")) }},
	{name: "two rotations, the second as soon as the first is followed", slug: "double", play: double},
	{name: "two rotations of a Certificate's Secret", slug: "issued", play: issued},
	{name: "a rotation that is rolled back as soon as it is followed", slug: "back", play: func(ctx context.Context, a *act) error {
		return rollback(ctx, a, true)
	}},
	{name: "a rotation that is rolled back at once", slug: "hastyback", play: func(ctx context.Context, a *act) error {
		return rollback(ctx, a, false)
	}},
	{name: "four rotations, 0.2 s apart", slug: "four", play: four},
	{name: "the source is deleted, and made again with another CA", slug: "again", warns: true, play: again},
	{name: "the API server's CA", slug: "apiserver", play: apiServerCA},
	{name: "a source that nobody has made", slug: "missing", warns: true, play: func(ctx context.Context, a *act) error {
		return steps(
			func() error { return a.populate(ctx) },
			func() error { return a.notReady(ctx, cabundle.SourceNotFound) },
		)
	}},
}

// double leaves replicas that look at different times with different histories: the one that leads has seen the second CA, and
// those that look a moment later only the third.
func double(ctx context.Context, a *act) error {
	first, second, third := a.ca("1"), a.ca("2"), a.ca("3")
	a.wantLate = bundle{}.may(first, second).must(third)
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotateTwice(ctx, second, third) },
		func() error { return a.beLate(ctx) },
		func() error { return a.hold(ctx, all(first, second, third)) },
		func() error { return a.holdLate(ctx) },
	)
}

// all is the bundle of cas. The replica that has seen but the third puts that into a target, and the second behind it once it has learned
// of it.
func all(cas ...[]byte) bundle { return must(cas...).inAnyOrder() }

// rotateTwice rotates, and again as soon as a target holds the first of the two.
func (a *act) rotateTwice(ctx context.Context, one, two []byte) error {
	return steps(
		func() error { return a.rotate(ctx, one) },
		func() error { return a.follow(ctx, one) },
		func() error { return a.rotate(ctx, two) },
	)
}

func (a *act) holdLate(ctx context.Context) error {
	return eventually(ctx, func(ctx context.Context) error { return a.check(ctx, a.late, a.wantLate) })
}

func issued(ctx context.Context, a *act) error {
	const name = "issued-certificate"
	certificate := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": trial.Namespace, "name": name},
		"spec": map[string]any{
			"secretName": a.source, "dnsNames": []any{"example.com"}, "issuerRef": map[string]any{"name": "issuer"},
		},
	}}
	certificate.SetGroupVersionKind(cluster.CertificateKind)
	a.annotations = map[string]string{cabundle.InjectCAFromAnnotation: trial.Namespace + "/" + name}
	a.publication = "certificate." + trial.Namespace + "." + name
	first, second, third := a.ca("1"), a.ca("2"), a.ca("3")
	return steps(
		func() error {
			return eventually(ctx, func(ctx context.Context) error { return a.stage.world.Client.Create(ctx, certificate) })
		},
		func() error { return a.create(ctx, first) },
		func() error {
			return a.change(ctx, func(s *corev1.Secret) {
				s.Annotations = map[string]string{cabundle.CertificateNameAnnotation: name}
			})
		},
		func() error { return a.populate(ctx) },
		func() error { return a.hold(ctx, must(first)) },
		func() error { return a.rotateTwice(ctx, second, third) },
		func() error { return a.hold(ctx, all(first, second, third)) },
	)
}

// rollback returns to the first CA. Nobody has to know which of the two is the older one.
func rollback(ctx context.Context, a *act, followed bool) error {
	first, second := a.ca("1"), a.ca("2")
	want := must(first, second).inAnyOrder()
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error {
			if followed {
				return a.follow(ctx, second)
			}
			time.Sleep(hasty)
			want = must(first).may(second).inAnyOrder()
			return nil
		},
		func() error { return a.rotate(ctx, first) },
		func() error { return a.hold(ctx, want) },
	)
}

func four(ctx context.Context, a *act) error {
	first, last := a.ca("1"), a.ca("5")
	between := [][]byte{a.ca("2"), a.ca("3"), a.ca("4")}
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error {
			for _, ca := range append(between, last) {
				if err := a.rotate(ctx, ca); err != nil {
					return err
				}
				time.Sleep(hasty)
			}
			return nil
		},
		// A replica that has missed one may learn of it later, when the target holds the next.
		func() error { return a.hold(ctx, must(first).may(between...).must(last).inAnyOrder()) },
	)
}

func again(ctx context.Context, a *act) error {
	first, second := a.ca("1"), a.ca("2")
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.remove(ctx) },
		func() error { return a.notReady(ctx, cabundle.SourceNotFound) },
		func() error { return a.create(ctx, second) },
		func() error { return a.hold(ctx, must(first, second)) },
	)
}

// notReady waits until what is published says that the source cannot be injected.
func (a *act) notReady(ctx context.Context, reason cabundle.Reason) error {
	return eventually(ctx, func(ctx context.Context) error {
		object, err := a.cabundle(ctx)
		if err != nil {
			return err
		}
		for _, condition := range object.Status.Conditions {
			if condition.Reason == string(reason) {
				return nil
			}
		}
		return errors.New("the CABundle does not say " + string(reason))
	})
}

// apiServerCA is a source that no Secret holds. What the replicas are told of it is the CA of the proxies.
func apiServerCA(ctx context.Context, a *act) error {
	a.annotations = map[string]string{cabundle.InjectAPIServerCAAnnotation: "true"}
	a.publication = "apiserver"
	ca := a.stage.world.Proxy(a.stage.world.Replicas.All()[0]).CA()
	a.names[string(ca)] = "the API server's"
	return steps(
		func() error { return a.populate(ctx) },
		func() error { return a.hold(ctx, must(ca)) },
	)
}
