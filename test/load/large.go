package load

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// large has a CRD as large as etcd takes created, applied again with a placeholder, and its source rotated. The API server
// sends it twice in the review of an update.
func (l *load) large(ctx context.Context) error {
	crd := l.largeCRD()
	if err := l.createLarge(ctx, crd); err != nil {
		return err
	}
	if err := l.measure(ctx, "  applied again with a placeholder", crd, l.blankLarge); err != nil {
		return err
	}
	return l.measure(ctx, largeRotated, crd, l.rotateLarge)
}

// largeFilled is large without the placeholder, which the API server does not take where nobody replaces it.
func (l *load) largeFilled(ctx context.Context) error {
	crd := l.largeCRD()
	if err := l.createLarge(ctx, crd); err != nil {
		return err
	}
	return l.measure(ctx, largeRotated, crd, l.rotateLarge)
}

const largeRotated = "  its source rotated"

func (l *load) largeCRD() *apiextensionsv1.CustomResourceDefinition {
	crd := playground.NewCRD("large", playground.FromSecret(trial.Namespace, l.source(0)))
	crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties = map[string]apiextensionsv1.JSONSchemaProps{
		"spec": {Type: "object", Description: strings.Repeat("A field that is explained at length. ", largeBytes/37)},
	}
	return crd
}

// measure takes down how long one thing takes, and whether the CRD is filled then.
func (l *load) measure(ctx context.Context, what string, crd *apiextensionsv1.CustomResourceDefinition,
	do func(context.Context, *apiextensionsv1.CustomResourceDefinition) error) error {
	start := time.Now()
	if err := do(ctx, crd); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	r := row{what: what, took: []time.Duration{time.Since(start)}, whole: time.Since(start)}
	if bytes.Contains(crd.Spec.Conversion.Webhook.ClientConfig.CABundle, []byte("BEGIN CERTIFICATE")) {
		r.answer = 1
	}
	l.rows = append(l.rows, r)
	return nil
}

// createLarge creates it, and waits until it is filled if the answer does not say so.
func (l *load) createLarge(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	return l.measure(ctx, fmt.Sprintf("a CRD of %.1f MB created", float64(largeBytes)/1e6), crd,
		func(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
			if err := l.population.Add(ctx, crd); err != nil {
				return err
			}
			if len(crd.Spec.Conversion.Webhook.ClientConfig.CABundle) > 0 {
				return nil
			}
			return l.right(ctx)
		})
}

func (l *load) blankLarge(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	return l.population.Blank(ctx, crd)
}

func (l *load) rotateLarge(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	crd.Spec.Conversion.Webhook.ClientConfig.CABundle = nil
	if err := l.population.Rotate(ctx, l.source(0)); err != nil {
		return err
	}
	return l.right(ctx)
}
