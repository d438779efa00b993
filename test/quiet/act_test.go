package quiet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// act is a scenario on a stage: a Secret, and what is filled from it.
type act struct {
	stage    *stage
	scenario scenario
	err      error // why it did not come to a good end

	source      string            // the Secret's name
	annotations map[string]string // of targets; nil for those that name the Secret
	publication string            // the name of the CABundle; empty for that of the Secret
	names       map[string]string // of certificates, by PEM

	// targets were there before the source changed, late ones came afterwards.
	targets, late []client.Object
	// want and wantLate are what they are to hold in the end.
	want, wantLate bundle
	// lastly, if set, says what else is wrong in the end.
	lastly func(context.Context) error
}

// bundle is what a caBundle is to hold, in this order, or in any.
type bundle struct {
	certificates []certificate
	anyOrder     bool
}

// certificate is one in PEM. An optional one may be there or not.
type certificate struct {
	pem      []byte
	optional bool
}

// must is the bundle of the given certificates.
func must(cas ...[]byte) bundle {
	var b bundle
	for _, ca := range cas {
		b.certificates = append(b.certificates, certificate{pem: ca})
	}
	return b
}

// may adds certificates that may be there or not: those that their source held so briefly that nobody needs to have read them.
func (b bundle) may(cas ...[]byte) bundle {
	for _, ca := range cas {
		b.certificates = append(slices.Clone(b.certificates), certificate{pem: ca, optional: true})
	}
	return b
}

// must adds certificates.
func (b bundle) must(cas ...[]byte) bundle {
	b.certificates = slices.Concat(b.certificates, must(cas...).certificates)
	return b
}

// inAnyOrder is b, but for the order.
func (b bundle) inAnyOrder() bundle {
	b.anyOrder = true
	return b
}

// matches reports whether got, certificates in PEM, are what b says.
func (b bundle) matches(got []string) bool {
	i, found := 0, map[string]bool{}
	for _, g := range got {
		at := slices.IndexFunc(b.certificates, func(c certificate) bool { return string(c.pem) == g })
		if at < 0 || found[g] || at < i && !b.anyOrder {
			return false
		}
		i, found[g] = at, true
	}
	return !slices.ContainsFunc(b.certificates, func(c certificate) bool { return !c.optional && !found[string(c.pem)] })
}

// split returns the certificates of a caBundle.
func split(data []byte) (all []string, err error) {
	for rest := data; len(rest) > 0; {
		block, after := pem.Decode(rest)
		if block == nil || !bytes.HasPrefix(rest, pem.EncodeToMemory(block)) {
			return nil, fmt.Errorf("it holds what is no certificate: %q", rest)
		}
		all, rest = append(all, string(pem.EncodeToMemory(block))), after
	}
	return all, nil
}

// fingerprint is the SHA-256 of a certificate in PEM, in hex.
func fingerprint(ca []byte) string {
	block, _ := pem.Decode(ca)
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// ca makes a CA.
func (a *act) ca(name string) []byte {
	ca := playground.NewCA(a.scenario.slug + " " + name)
	a.names[string(ca)] = name
	return ca
}

// called says which certificates these are.
func (a *act) called(got []string) string {
	var names []string
	for _, g := range got {
		name := a.names[g]
		if name == "" {
			name = "a foreign one"
		}
		names = append(names, name)
	}
	return "[" + strings.Join(names, " ") + "]"
}

func (a *act) wanted(b bundle) string {
	var names []string
	for _, c := range b.certificates {
		name := a.names[string(c.pem)]
		if c.optional {
			name += "?"
		}
		names = append(names, name)
	}
	text := "[" + strings.Join(names, " ") + "]"
	if b.anyOrder {
		text += " in any order"
	}
	return text
}

func (a *act) key() client.ObjectKey {
	return client.ObjectKey{Namespace: trial.Namespace, Name: a.source}
}

func (a *act) allTargets() []client.Object { return slices.Concat(a.targets, a.late) }

// expect tells the census what the Secret is about to hold.
func (a *act) expect(cas [][]byte) {
	if !a.scenario.uncounted {
		a.stage.census.Expect(a.key().String(), bytes.Join(cas, nil))
	}
}

// create creates the Secret.
func (a *act) create(ctx context.Context, cas ...[]byte) error {
	a.expect(cas)
	return a.stage.world.Client.Create(ctx, playground.NewSecret(a.key().Namespace, a.key().Name, bytes.Join(cas, nil)))
}

// rotate changes what the Secret holds.
func (a *act) rotate(ctx context.Context, cas ...[]byte) error {
	a.expect(cas)
	return a.change(ctx, func(s *corev1.Secret) { s.Data["ca.crt"] = bytes.Join(cas, nil) })
}

// change changes the Secret.
func (a *act) change(ctx context.Context, change func(*corev1.Secret)) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret := &corev1.Secret{}
		if err := a.stage.world.Client.Get(ctx, a.key(), secret); err != nil {
			return err
		}
		change(secret)
		return a.stage.world.Client.Update(ctx, secret)
	})
}

// remove deletes the Secret.
func (a *act) remove(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.key().Namespace, Name: a.key().Name}}
	return a.stage.world.Client.Delete(ctx, secret)
}

// begin creates the Secret and a target of each kind, and waits until they are filled.
func (a *act) begin(ctx context.Context, cas ...[]byte) error {
	return steps(
		func() error { return a.create(ctx, cas...) },
		func() error { return a.populate(ctx) },
		func() error { return a.hold(ctx, must(cas...)) },
	)
}

// populate creates a target of each kind.
func (a *act) populate(ctx context.Context) error {
	made, err := a.make(ctx, a.scenario.slug, trial.Kinds)
	a.targets = append(a.targets, made...)
	return err
}

// beLate creates more of them, after the source has changed.
func (a *act) beLate(ctx context.Context) error {
	made, err := a.make(ctx, a.scenario.slug+"late", trial.Kinds)
	a.late = append(a.late, made...)
	return err
}

// crowd creates the Secret and n targets, as many of each of the given kinds, and waits until they are filled. The stage has no
// others that the census counts.
func (a *act) crowd(ctx context.Context, n int, kinds []trial.Kind, ca []byte) error {
	if err := a.create(ctx, ca); err != nil {
		return err
	}
	for i := range n / len(kinds) {
		made, err := a.make(ctx, fmt.Sprintf("%s%dx", a.scenario.slug, i), kinds)
		if a.targets = append(a.targets, made...); err != nil {
			return err
		}
	}
	return steps(
		func() error { return a.stage.right(ctx, n) },
		func() error { return a.hold(ctx, must(ca)) },
	)
}

func (a *act) make(ctx context.Context, name string, kinds []trial.Kind) (made []client.Object, err error) {
	annotations := a.annotations
	if annotations == nil {
		annotations = playground.FromSecret(a.key().Namespace, a.key().Name)
	}
	for n, kind := range kinds {
		object := kind(fmt.Sprintf("%s%d", name, n), annotations)
		if err := a.stage.world.Client.Create(ctx, object); err != nil {
			return made, err
		}
		made = append(made, object)
	}
	return made, nil
}

// reset has whoever applies the targets' manifests again put a placeholder into each caBundle.
func (a *act) reset(ctx context.Context) error {
	for _, target := range a.targets {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
			if err := a.stage.world.Client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
				return err
			}
			playground.SetCABundles(target, []byte(trial.Placeholder))
			return a.stage.world.Client.Update(ctx, target)
		})
		if err != nil {
			return fmt.Errorf("reset %s: %w", target.GetName(), err)
		}
	}
	return nil
}

// holds returns what a target holds now.
func (a *act) holds(ctx context.Context, target client.Object) ([]string, error) {
	if err := a.stage.world.Client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
		return nil, err
	}
	bundles := playground.CABundles(target)
	for _, b := range bundles[1:] {
		if !bytes.Equal(b, bundles[0]) {
			return nil, errors.New("it is half written")
		}
	}
	return split(bundles[0])
}

// check returns an error unless all targets hold what they should now.
func (a *act) check(ctx context.Context, targets []client.Object, want bundle) error {
	for _, target := range targets {
		got, err := a.holds(ctx, target)
		if err != nil {
			return fmt.Errorf("%T %s: %w", target, target.GetName(), err)
		}
		if !want.matches(got) {
			return fmt.Errorf("%T %s holds %s, not %s", target, target.GetName(), a.called(got), a.wanted(want))
		}
	}
	return nil
}

// hold waits until all targets hold want, which is then what they are to hold in the end.
func (a *act) hold(ctx context.Context, want bundle) error {
	a.want = want
	return eventually(ctx, func(ctx context.Context) error { return a.check(ctx, a.targets, want) })
}

// follow waits until one target holds ca: caject has begun to act.
func (a *act) follow(ctx context.Context, ca []byte) error {
	return eventually(ctx, func(ctx context.Context) error {
		for _, target := range a.targets {
			if got, err := a.holds(ctx, target); err != nil {
				return err
			} else if slices.Contains(got, string(ca)) {
				return nil
			}
		}
		return fmt.Errorf("no target holds %s", a.names[string(ca)])
	})
}

// cabundle returns the CABundle as it is now.
func (a *act) cabundle(ctx context.Context) (*v1alpha1.CABundle, error) {
	object := &v1alpha1.CABundle{}
	name := a.publication
	if name == "" {
		name = "secret." + a.key().Namespace + "." + a.key().Name
	}
	return object, a.stage.world.Client.Get(ctx, client.ObjectKey{Name: name}, object)
}

// published returns the certificates that are published now, none if there is no CABundle.
func (a *act) published(ctx context.Context) ([]string, error) {
	object, err := a.cabundle(ctx)
	if apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(object.Status.CABundle)
	if err != nil {
		return nil, err
	}
	return split(data)
}

// publish waits until what is published is want.
func (a *act) publish(ctx context.Context, want bundle) error {
	return eventually(ctx, func(ctx context.Context) error { return a.checkPublished(ctx, want) })
}

func (a *act) checkPublished(ctx context.Context, want bundle) error {
	got, err := a.published(ctx)
	if err == nil && !want.matches(got) {
		err = fmt.Errorf("%s are published, not %s", a.called(got), a.wanted(want))
	}
	return err
}

// finally returns what is wrong when all has come to rest.
func (a *act) finally(ctx context.Context) error {
	errs := []error{a.check(ctx, a.targets, a.want), a.check(ctx, a.late, a.wantLate)}
	published, err := a.published(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, target := range a.targets {
		got, err := a.holds(ctx, target)
		if err != nil {
			errs = append(errs, err)
		}
		for _, p := range published {
			if !slices.Contains(got, p) {
				errs = append(errs, fmt.Errorf("%T %s does not hold %s, which is published", target, target.GetName(), a.called([]string{p})))
			}
		}
	}
	if a.lastly != nil {
		errs = append(errs, a.lastly(ctx))
	}
	return errors.Join(errs...)
}

// steps does one after the other, until one fails.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// eventually returns once condition does nil, or its last error when patience has an end.
func eventually(ctx context.Context, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for {
		switch latest := condition(ctx); {
		case latest == nil:
			return nil
		case err == nil || ctx.Err() == nil:
			err = latest // or it would say no more than that the time is over
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
