package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// The rows of a write of a webhook configuration.
const (
	policyGroup        = "One write of a webhook configuration (dry run), %d published sources; none: without policies"
	policyCreatePlain  = "create, not annotated"
	policyCreateFilled = "create, filled in the answer"
	policyUpdatePlain  = "update, not annotated"
	policyUpdateFilled = "update with a placeholder, filled in the answer"
	policyMore         = ": difference of the p25" // behind one of the others
)

// policies measures what caject's policies cost each write of a webhook configuration, by the number of sources that are
// published. It adds Secrets, each with a target that names it, up to each number, and takes the policies' bindings away for a
// while to compare.
func (s *session) policies(ctx context.Context) error {
	p := &published{session: s}
	for _, n := range s.Published {
		var missing int
		if err := s.progress.step(fmt.Sprintf("%d published sources", n), func() (err error) {
			missing, err = p.grow(ctx, n)
			return err
		}); err != nil {
			return err
		}
		if missing > 0 {
			s.report.Note(Key{policyGroup, n, policyCreatePlain, Milliseconds}, Caject,
				fmt.Sprintf("not measured: after %.0f s %d of the targets that name these sources were missing or not filled", s.Patience.Seconds(), missing))
			return nil
		}
		if err := s.progress.step(fmt.Sprintf("%d writes of each sort, with policies and without", s.Writes), func() error {
			return p.measure(ctx, n)
		}); err != nil {
			return err
		}
	}
	return nil
}

// published is the sources that are.
type published struct {
	*session
	sources     []string
	plain, kept *admissionregistrationv1.ValidatingWebhookConfiguration
}

// grow makes sources and their targets until there are n. It returns how many could not be brought about within Patience.
func (p *published) grow(ctx context.Context, n int) (missing int, err error) {
	cas := map[string][]byte{}
	var targets []client.Object
	fresh := make([]string, n-len(p.sources))
	for i := range fresh {
		fresh[i] = p.name("published")
		target := playground.NewValidating(fresh[i], 1, playground.FromSecret(namespace, fresh[i]))
		targets, cas[key(target)] = append(targets, target), playground.NewCA(fresh[i])
	}
	if err := each(ctx, len(fresh), clients, func(ctx context.Context, i int) error {
		return p.client.Create(ctx, playground.NewSecret(namespace, fresh[i], cas[key(targets[i])]))
	}); err != nil {
		return 0, err
	}
	filled := p.lookout.expect(cas)
	patient, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	if err = p.createAll(patient, targets); err == nil {
		err = p.lookout.wait(patient, filled)
	}
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		return p.lookout.left(filled), nil
	}
	p.sources = append(p.sources, fresh...)
	return 0, errors.Join(err, p.settle(ctx, p.Settle))
}

// measure measures with the policies, then without.
func (p *published) measure(ctx context.Context, n int) error {
	if p.kept == nil {
		p.plain = playground.NewValidating(p.name("plain"), 1, nil)
		p.kept = playground.NewValidating(p.name("kept"), 1, playground.FromSecret(namespace, p.sources[0]))
		if err := errors.Join(p.client.Create(ctx, p.plain), p.client.Create(ctx, p.kept)); err != nil {
			return err
		}
	}
	if err := p.await(ctx, true); err != nil {
		return err
	}
	if err := p.writes(ctx, n, Caject); err != nil {
		return err
	}
	bindings, err := p.unbind(ctx)
	if err != nil {
		return err
	}
	if err := p.await(ctx, false); err != nil {
		return err
	}
	if err := p.writes(ctx, n, None); err != nil {
		return err
	}
	p.compare(n)
	for _, binding := range bindings {
		binding.SetResourceVersion("")
		binding.SetUID("")
		if err := p.client.Create(ctx, binding); err != nil {
			return err
		}
	}
	return p.await(ctx, true)
}

// compare takes down how much more each write takes with the policies: of the p25, since it is a few tenths of a millisecond.
func (p *published) compare(n int) {
	for _, what := range []string{policyCreatePlain, policyCreateFilled, policyUpdatePlain, policyUpdateFilled} {
		row := p.report.Row(Key{policyGroup, n, what, Milliseconds})
		with, _ := row.Summary(Caject)
		without, _ := row.Summary(None)
		p.report.Add(Key{policyGroup, n, what + policyMore, Milliseconds}, Caject, with.P25-without.P25)
	}
}

// unbind deletes the bindings of caject's policies, and returns them.
func (p *published) unbind(ctx context.Context) ([]client.Object, error) {
	mutating, validating := &admissionregistrationv1.MutatingAdmissionPolicyBindingList{}, &admissionregistrationv1.ValidatingAdmissionPolicyBindingList{}
	if err := errors.Join(p.client.List(ctx, mutating), p.client.List(ctx, validating)); err != nil {
		return nil, err
	}
	var all []client.Object
	for i := range mutating.Items {
		all = append(all, &mutating.Items[i])
	}
	for i := range validating.Items {
		all = append(all, &validating.Items[i])
	}
	var own []client.Object
	for _, binding := range all {
		if strings.HasPrefix(binding.GetName(), playground.Namespace) {
			own = append(own, binding)
		}
	}
	return own, p.remove(ctx, own...)
}

// await returns once the policies fill, or do not, and a little later: there are several.
func (p *published) await(ctx context.Context, fill bool) error {
	ctx, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	for {
		_, filled, err := p.create(ctx, true)
		if err != nil {
			return err
		}
		if filled == fill {
			return playground.Sleep(ctx, time.Second)
		}
		if err := playground.Sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the policies' bindings are there: %v, and that takes no effect: %w", fill, err)
		}
	}
}

// writes measures Writes of each sort, in turn.
func (p *published) writes(ctx context.Context, n int, subject Subject) error {
	for range p.Writes {
		for _, write := range []struct {
			what      string
			annotated bool
			do        func(context.Context, bool) (time.Duration, bool, error)
		}{
			{policyCreatePlain, false, p.create},
			{policyCreateFilled, true, p.create},
			{policyUpdatePlain, false, p.update},
			{policyUpdateFilled, true, p.update},
		} {
			took, filled, err := write.do(ctx, write.annotated)
			if err != nil {
				return err
			}
			if want := write.annotated && subject == Caject; filled != want {
				return fmt.Errorf("%s with %d published sources, %s: filled in the answer: %v", write.what, n, subject, filled)
			}
			p.report.AddTimes(Key{policyGroup, n, write.what, Milliseconds}, subject, took)
		}
	}
	return nil
}

// create creates a webhook configuration as a dry run.
func (p *published) create(ctx context.Context, annotated bool) (took time.Duration, filled bool, err error) {
	var annotations map[string]string
	if annotated {
		annotations = playground.FromSecret(namespace, p.sources[0])
	}
	object := playground.NewValidating(p.name("dry"), 1, annotations)
	began := time.Now()
	err = p.client.Create(ctx, object, client.DryRunAll)
	return time.Since(began), len(object.Webhooks[0].ClientConfig.CABundle) > 0, err
}

// update updates one that is there as a dry run, one with annotation as if its manifest, with a placeholder, were applied again.
func (p *published) update(ctx context.Context, annotated bool) (took time.Duration, filled bool, err error) {
	const placeholder = "\n"
	object := p.plain
	if annotated {
		object = p.kept
	}
	if err := p.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return 0, false, err
	}
	object.Labels = map[string]string{"round": p.name("r")}
	if annotated {
		object.Webhooks[0].ClientConfig.CABundle = []byte(placeholder)
	}
	began := time.Now()
	err = p.client.Update(ctx, object, client.DryRunAll)
	return time.Since(began), len(object.Webhooks[0].ClientConfig.CABundle) > len(placeholder), err
}
