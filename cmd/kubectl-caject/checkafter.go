package main

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// after examines a cluster in which caject is installed.
func (e *examination) after(ctx context.Context) (*report, error) {
	const first = "Installation"
	i, verdicts, err := e.find(ctx)
	if err != nil {
		return nil, err
	}
	if i == nil {
		return examine(ctx, []category{{first, func(context.Context) []verdict { return verdicts }}}), nil
	}
	found, surveyErr := e.reader.Read(ctx, survey.Selection{})
	if surveyErr != nil {
		found = &survey.Survey{}
	}
	return examine(ctx, []category{
		{first, func(context.Context) []verdict { return verdicts }},
		{"Certificates", func(ctx context.Context) []verdict { return e.trust(ctx, i) }},
		{"Admission", func(ctx context.Context) []verdict { return e.admission(ctx, i, found) }},
		{"Rights", func(ctx context.Context) []verdict { return e.accountRights(ctx, i) }},
		{"Sources and targets", func(ctx context.Context) []verdict {
			asking := judgeAsking(found)
			if surveyErr != nil {
				asking = unread(asking.Check, surveyErr)
			}
			return append([]verdict{e.published(ctx, i), asking}, e.injected(ctx, i)...)
		}},
	}), nil
}

// published looks at the CABundles.
func (e *examination) published(ctx context.Context, i *installation) verdict {
	const check = "CABundles"
	if i.flag("publish-to") == "" {
		return ok(check, "none are published: cabundles.enabled is false")
	}
	var list v1alpha1.CABundleList
	raw, err := e.raw(ctx, "apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "cabundles")
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	switch {
	case apierrors.IsNotFound(err):
		return fail(check, "how-it-works.md#what-is-published", "the CRD cabundles.caject.io is not there: helm upgrade installs it")
	case err != nil:
		return unread(check, err)
	}
	return judgePublished(list.Items)
}

// judgePublished says which sources are not ready.
func judgePublished(all []v1alpha1.CABundle) verdict {
	const check = "CABundles"
	var unready []string
	for i := range all {
		ready := meta.FindStatusCondition(all[i].Status.Conditions, v1alpha1.Ready)
		switch {
		case ready == nil:
			unready = append(unready, all[i].Spec.Source)
		case ready.Status != metav1.ConditionTrue:
			unready = append(unready, fmt.Sprintf("%s: %s", all[i].Spec.Source, ready.Reason))
		}
	}
	switch {
	case len(all) == 0:
		return warn(check, "how-it-works.md#what-is-published", "there are none, and caject's own CA should be one: no replica has run yet, or it may not write them")
	case len(unready) > 0:
		return warn(check, "troubleshooting.md#where-to-look", "%d of %d are not Ready (%s)", len(unready), len(all), some(unready))
	}
	return ok(check, "%d of %d are Ready", len(all), len(all))
}
