package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/selftest"
	"github.com/caject/caject/cabundle/survey"
)

const (
	// tryFor is how long an injection is tried: what was just installed may take a moment.
	tryFor = 3 * time.Second
	// tryEvery is the time between two tries.
	tryEvery = 500 * time.Millisecond
)

// notReached is the page about a webhook that is not called.
const notReached = "troubleshooting.md#the-api-server-does-not-reach-the-webhook"

// admission says what the API server does with annotated objects.
func (e *examination) admission(ctx context.Context, i *installation, found *survey.Survey) []verdict {
	before, err := e.metrics(ctx)
	verdicts := e.policies(ctx, i)
	if calledFor(i) != nil {
		verdicts = append(verdicts, e.called(ctx, i, found))
	}
	after := before
	if err == nil {
		after, err = e.metrics(ctx)
	}
	return append(verdicts, judgeHints(i, after), judgeFailingOpen(i, before, after, err))
}

// policies says whether caject's are in force: whether they are there, and whether one fills a webhook configuration in a dry run.
func (e *examination) policies(ctx context.Context, i *installation) []verdict {
	const check = "policies"
	served, err := cluster.PolicyVersion(e.api.Discovery())
	if err != nil {
		return []verdict{unread(check, err)}
	}
	if i.flag("admission-policy") == "" {
		return []verdict{judgeNoPolicies(served)}
	}
	there := map[string][]string{}
	for _, resource := range []string{"mutatingadmissionpolicies", "mutatingadmissionpolicybindings"} {
		of := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: served, Resource: resource}
		list, err := e.metadata.Resource(of).List(ctx, metav1.ListOptions{LabelSelector: survey.InstallationLabel})
		if err != nil && served != "" {
			return []verdict{unread(check, err), e.filled(ctx, i)}
		}
		if err == nil {
			for _, item := range list.Items {
				there[resource] = append(there[resource], item.Name)
			}
		}
	}
	return []verdict{judgePoliciesThere(served, there["mutatingadmissionpolicies"], there["mutatingadmissionpolicybindings"]), e.filled(ctx, i)}
}

// judgeNoPolicies is about a caject that was installed without policies; served is the version in which there could be some.
func judgeNoPolicies(served string) verdict {
	const check = "policies"
	if served == "" {
		return warn(check, "compatibility.md", "this API server serves none: a webhook configuration is filled milliseconds after it was stored, and nothing while caject is away")
	}
	return warn(check, "compatibility.md#after-an-upgrade-of-the-cluster",
		"the chart was rendered without them, and the API server serves MutatingAdmissionPolicy %s: helm upgrade installs them, unless policy.enabled is false", served)
}

// judgePoliciesThere says whether each policy has its binding, and whether one fills.
func judgePoliciesThere(served string, policies, bindings []string) verdict {
	const check, page = "policies", "how-it-works.md#the-policies"
	if served == "" {
		return fail(check, "compatibility.md#back-to-an-older-version", "caject counts on them, and this API server serves no MutatingAdmissionPolicy")
	}
	unbound := slices.DeleteFunc(slices.Clone(policies), func(name string) bool { return slices.Contains(bindings, name) })
	switch {
	case !slices.ContainsFunc(policies, func(name string) bool { return strings.Contains(name, "-fill-") }):
		return fail(check, page, "caject counts on them, and none that fills is there: helm upgrade installs them")
	case len(unbound) > 0:
		return fail(check, page, "%s has no binding: helm upgrade installs it", some(unbound))
	}
	return ok(check, "%d MutatingAdmissionPolicies (%s) and their bindings are there", len(policies), served)
}

// filled has a webhook configuration filled in a dry run: policies alone do that.
func (e *examination) filled(ctx context.Context, i *installation) verdict {
	const check = "policies at work"
	said, err := e.try(ctx, i, cabundle.MutatingWebhookConfiguration)
	return judgeTried(check, "how-it-works.md#the-policies", said, err)
}

// injected has an object of a kind that the webhook fills created in a dry run.
func (e *examination) injected(ctx context.Context, i *installation) []verdict {
	kind := calledFor(i)
	if kind == nil {
		return nil
	}
	said, err := e.try(ctx, i, *kind)
	return []verdict{judgeTried("an injection", "troubleshooting.md#where-to-look", said, err)}
}

// try creates an object of kind in a dry run that names caject's own CA, and says what was injected.
func (e *examination) try(ctx context.Context, i *installation, kind cabundle.Kind) (string, error) {
	var bundle cabundle.Bundle
	err := again(ctx, func(ctx context.Context) (err error) {
		bundle, err = selftest.Try(ctx, e.targets, kind, i.source())
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a dry run of a %s that names %s was answered with it: certificates: %d, the first to expire on %s",
		kind, i.source(), len(bundle.Certificates()), bundle.FirstExpiry().UTC().Format(time.DateOnly)), nil
}

// again tries until there is no error, or one that stays.
func again(ctx context.Context, try func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, tryEvery, tryFor, true, func(ctx context.Context) (bool, error) {
		if err := try(ctx); err == nil || last == nil || ctx.Err() == nil { // cut short by the end of the time: what was said before says more
			last = err
		}
		return last == nil || apierrors.IsForbidden(last), nil
	})
	if last == nil {
		return err
	}
	return last
}

// judgeTried says what came of an injection in a dry run.
func judgeTried(check, page, said string, err error) verdict {
	switch {
	case apierrors.IsForbidden(err):
		return unread(check, err)
	case err != nil:
		return fail(check, page, "%s", whyUnread(err))
	}
	return ok(check, "%s", said)
}

// calledFor returns a kind for which the API server calls the webhook; nil if there is none.
func calledFor(i *installation) *cabundle.Kind {
	for _, kind := range cabundle.Kinds() {
		if kind.Admitted() && i.injects(kind) {
			return &kind
		}
	}
	return nil
}

// called says whether the API server reaches the webhook: in a dry run of an annotated object, or else of a new one.
func (e *examination) called(ctx context.Context, i *installation, found *survey.Survey) verdict {
	kind := *calledFor(i)
	at := slices.IndexFunc(found.Targets, func(f survey.Finding) bool {
		return f.Kind.Admitted() && i.injects(f.Kind) && f.Reference != cabundle.Reference{}
	})
	reached := false
	err := again(ctx, func(ctx context.Context) (err error) {
		if at >= 0 {
			reached, err = e.targets.Called(ctx, found.Targets[at].Target())
		}
		if at < 0 || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			reached, err = selftest.Called(ctx, e.targets, kind, i.source())
		}
		if err == nil && !reached {
			err = errNotCalled
		}
		return err
	})
	return judgeCalled(err)
}

var errNotCalled = errors.New("the API server has not called it, or got no answer in time")

func judgeCalled(err error) verdict {
	const check = "webhook"
	switch {
	case err == nil:
		return ok(check, "the API server reaches it: a dry run was answered")
	case apierrors.IsForbidden(err):
		return unread(check, err)
	}
	return fail(check, notReached, "%s", whyUnread(err))
}
