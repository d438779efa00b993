package matrix

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// shortLived is how long the certificates are valid that are to expire: so long that all targets are filled by then.
const shortLived = 40 * time.Second

// aging is a source with certificates that expire, and a target of each kind.
type aging struct {
	name   string
	source []byte // at first
	rotate []byte // what the source holds soon afterwards; nil if it stays as it is
	before []byte // what targets hold until the first ones expire
	after  []byte // and what they hold then
}

// expire plays it: a certificate that expires leaves the targets, and what is published, within a round or so; the last one in a field stays
// until there is another one.
func (s *stage) expire(ctx context.Context) []error {
	expiry := time.Now().Add(shortLived)
	short := cabundletest.CA("short", time.Now().Add(-time.Hour), expiry)
	one, two, renewed := playground.NewCA("one"), playground.NewCA("two"), playground.NewCA("renewed")
	cases := []aging{
		{name: "beside another", source: concat(short, one), before: concat(short, one), after: one},
		{name: "rotated out", source: short, rotate: two, before: concat(short, two), after: two},
		{name: "the last one", source: short, before: short, after: short},
	}
	var errs []error
	fail := func(of aging, when string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("a certificate that expires, %s, %s: %s: %w", of.name, s, when, err))
		}
	}
	for n, of := range cases {
		secret := playground.NewSecret(trial.Namespace, fmt.Sprintf("aging%d", n), of.source)
		fail(of, "create", s.world.Client.Create(ctx, secret))
		for kind := range trial.Kinds {
			fail(of, "create", s.world.Client.Create(ctx, s.agingTarget(n, kind)))
		}
	}
	for n, of := range cases {
		if of.rotate != nil {
			fail(of, "fill", s.age(ctx, n, of.source))
			fail(of, "rotate", s.world.Client.Update(ctx, playground.NewSecret(trial.Namespace, fmt.Sprintf("aging%d", n), of.rotate)))
		}
		fail(of, "before it expires", s.age(ctx, n, of.before))
	}
	pauseFor(ctx, time.Until(expiry)+2*interval)
	for n, of := range cases {
		fail(of, "after it has expired", s.age(ctx, n, of.after))
		if bytes.Equal(of.after, short) {
			fail(of, "renew", s.world.Client.Update(ctx, playground.NewSecret(trial.Namespace, fmt.Sprintf("aging%d", n), renewed)))
			fail(of, "renewed", s.age(ctx, n, renewed))
			of.after = renewed
		}
		fail(of, "published", s.agedShards(ctx, n, of.after))
	}
	return errs
}

func concat(all ...[]byte) []byte { return bytes.Join(all, nil) }

// agingTarget is the target of a kind of the nth source.
func (s *stage) agingTarget(n, kind int) client.Object {
	return trial.Kinds[kind](fmt.Sprintf("aging%dk%d", n, kind), playground.FromSecret(trial.Namespace, fmt.Sprintf("aging%d", n)))
}

// age returns once all targets of the nth source hold what is wanted.
func (s *stage) age(ctx context.Context, n int, want []byte) error {
	return s.eventually(ctx, func(ctx context.Context) error {
		for kind := range trial.Kinds {
			object := s.agingTarget(n, kind)
			if err := s.world.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
				return err
			}
			for _, bundle := range playground.CABundles(object) {
				if !bytes.Equal(bundle, want) {
					return fmt.Errorf("the %s holds %d certificates, not the %d that it should",
						kindNames[kind], len(certificates(string(bundle))), len(certificates(string(want))))
				}
			}
		}
		return nil
	})
}

// agedShards returns once want is what is published of the nth source.
func (s *stage) agedShards(ctx context.Context, n int, want []byte) error {
	return s.eventually(ctx, func(ctx context.Context) error {
		var all corev1.PodTemplateList
		if err := s.world.Client.List(ctx, &all, client.InNamespace(playground.Namespace)); err != nil {
			return err
		}
		bundle, _, err := shards(all.Items).of(sourceKey(fmt.Sprintf("aging%d", n)))
		if err == nil && fmt.Sprint(bundle) != fmt.Sprint(certificates(string(want))) {
			err = fmt.Errorf("%d certificates are published, not the %d that should be", len(bundle), len(certificates(string(want))))
		}
		return err
	})
}
