package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// largeUpdates measures updates of a large CRD, with the annotation and without. They are dry runs: all of admission, without what
// the API server does about a CRD that has changed.
func (s *session) largeUpdates(ctx context.Context) error {
	return s.progress.step(fmt.Sprintf("%d updates of a CRD of 100 KB", s.Writes), func() error {
		ctx, cancel := context.WithTimeout(ctx, s.Patience)
		defer cancel()
		name := s.name("large")
		ca, err := s.addSource(ctx, name)
		if err != nil {
			return err
		}
		plain, filled := largeCRD(s.name("p"), nil), largeCRD(s.name("f"), playground.FromSecret(namespace, name))
		seen := s.lookout.expectAll(ca, filled)
		if err := errors.Join(s.client.Create(ctx, plain), s.client.Create(ctx, filled)); err != nil {
			return err
		}
		if err := s.awaitAndSettle(ctx, seen); err != nil {
			return err
		}
		for range s.Writes {
			for what, crd := range map[string]*apiextensionsv1.CustomResourceDefinition{"not annotated": plain, "annotated, and filled": filled} {
				took, err := s.updateLarge(ctx, crd)
				if err != nil {
					return err
				}
				s.report.AddTimes(Key{"One CRD of 100 KB updated (dry run)", 0, what, Milliseconds}, s.subject(), took)
			}
		}
		return errors.Join(s.remove(ctx, plain, filled), s.settle(ctx, s.Settle))
	})
}

// updateLarge reads a CRD and changes a description in it. It measures the update alone.
func (s *session) updateLarge(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) (time.Duration, error) {
	now := &apiextensionsv1.CustomResourceDefinition{}
	if err := s.client.Get(ctx, client.ObjectKeyFromObject(crd), now); err != nil {
		return 0, err
	}
	now.Spec.Versions[0].Schema.OpenAPIV3Schema.Description = s.name("described ")
	began := time.Now()
	err := s.client.Update(ctx, now, client.DryRunAll)
	return time.Since(began), err
}
