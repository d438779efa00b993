package main

import (
	"errors"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/caject/caject/cabundle/survey"
)

func TestJudgeVersion(t *testing.T) {
	for version, want := range map[string]want{
		"v1.37.2":              {passed, "v1.37.2"},
		"v1.30.0":              {passed, "v1.30.0"},
		"v1.30.5-gke.1699000":  {passed, "gke"},
		"v1.29.14-eks-1ab23cd": {failed, "1.30 and later"},
		"devel":                {untold, `"devel"`},
	} {
		t.Run(version, func(t *testing.T) { want.of(t, judgeVersion(version)) })
	}
}

func TestJudgePolicies(t *testing.T) {
	for sentence, test := range map[string]struct {
		version, served string
		err             error
		want            want
	}{
		"all kinds":           {"v1.37.0", "v1", nil, want{passed, "all kinds are filled at admission"}},
		"webhooks alone":      {"v1.36.3", "v1", nil, want{passed, "CRDs and APIServices too, by the webhook"}},
		"the beta":            {"v1.35.0", "v1beta1", nil, want{passed, "v1beta1 is served"}},
		"none":                {"v1.33.1", "", nil, want{warned, "milliseconds after it was stored"}},
		"it does not say":     {"v1.33.1", "", errors.New("it is away"), want{untold, "it is away"}},
		"an unknown version":  {"devel", "v1", nil, want{passed, "all kinds"}},
		"none, and switched":  {"v1.37.0", "", nil, want{warned, "not served"}},
		"a vendor's addition": {"v1.36.1-gke.12", "v1", nil, want{passed, "by the webhook"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgePolicies(test.version, test.served, test.err)) })
	}
}

func TestJudgeClock(t *testing.T) {
	for sentence, test := range map[string]struct {
		ahead time.Duration
		want  want
	}{
		"the same":       {300 * time.Millisecond, want{passed, "agree"}},
		"a minute":       {-time.Minute, want{passed, "agree"}},
		"an hour ahead":  {time.Hour, want{warned, "yours is 1h0m0s ahead of the API server's"}},
		"an hour behind": {-time.Hour, want{warned, "yours is 1h0m0s behind the API server's"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgeClock(test.ahead)) })
	}
}

func TestJudgeRelease(t *testing.T) {
	of := func(name, namespace string) map[string]string {
		return map[string]string{"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}
	}
	for sentence, test := range map[string]struct {
		there       bool
		annotations map[string]string
		want        want
	}{
		"none":                {false, nil, want{passed, "there is none"}},
		"its own":             {true, of("caject", "caject"), want{passed, "helm upgrade"}},
		"of another":          {true, of("injector", "platform"), want{failed, "release injector in namespace platform"}},
		"not Helm's":          {true, nil, want{warned, "belongs to no release"}},
		"a namesake's":        {true, of("caject", "platform"), want{failed, "in namespace platform"}},
		"without any release": {true, map[string]string{"some": "other"}, want{warned, "crds.enabled"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgeRelease(test.there, test.annotations, "caject")) })
	}
}

var leaseNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// lease returns one that was renewed some time ago.
func lease(holder string, ago time.Duration) coordinationv1.Lease {
	return coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "name"}, Spec: coordinationv1.LeaseSpec{
		HolderIdentity: ptr.To(holder), LeaseDurationSeconds: ptr.To(int32(15)), RenewTime: ptr.To(metav1.NewMicroTime(leaseNow.Add(-ago))),
	}}
}

func TestJudgeCainjector(t *testing.T) {
	for sentence, test := range map[string]struct {
		leases []coordinationv1.Lease
		want   want
	}{
		"none":             {nil, want{passed, "not at work"}},
		"at work":          {[]coordinationv1.Lease{lease("some_uid", time.Second)}, want{passed, "is at work (some_uid, Lease ns/name)"}},
		"stopped":          {[]coordinationv1.Lease{lease("", time.Second)}, want{passed, "not at work"}},
		"gone":             {[]coordinationv1.Lease{lease("some", time.Hour)}, want{passed, "not at work"}},
		"never held":       {[]coordinationv1.Lease{{}}, want{passed, "not at work"}},
		"one of two works": {[]coordinationv1.Lease{lease("a", time.Hour), lease("b", 0)}, want{passed, "at work (b,"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgeCainjector(test.leases, leaseNow)) })
	}
}

func TestJudgeLeader(t *testing.T) {
	for sentence, test := range map[string]struct {
		lease *coordinationv1.Lease
		want  want
	}{
		"none":      {nil, want{warned, "no Lease"}},
		"held":      {ptr.To(lease("caject-1_uid", 15*time.Second)), want{passed, "caject-1 holds the Lease"}},
		"released":  {ptr.To(lease("", time.Second)), want{warned, "nobody holds"}},
		"abandoned": {ptr.To(lease("caject-1_uid", time.Minute)), want{warned, "has not renewed it for 60s"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgeLeader(test.lease, leaseNow)) })
	}
}

func TestJudgeAsking(t *testing.T) {
	in := func(states ...survey.State) []survey.Finding {
		var all []survey.Finding
		for _, state := range states {
			all = append(all, survey.Finding{State: state})
		}
		return all
	}
	for sentence, test := range map[string]struct {
		found survey.Survey
		want  want
	}{
		"none":                  {survey.Survey{}, want{passed, "none asks"}},
		"all right":             {survey.Survey{Targets: in(survey.Injected, survey.NotInjectable)}, want{passed, "2 of 2 are right"}},
		"some wrong":            {survey.Survey{Targets: in(survey.Injected, survey.Refused, survey.Pending)}, want{warned, "2 of 3 are not right"}},
		"nothing may be read":   {survey.Survey{Gaps: []string{"you may not list a", "you may not list b"}}, want{untold, "you may not list a; you may not list b"}},
		"some may not be read":  {survey.Survey{Targets: in(survey.Injected), Gaps: []string{"you may not list a"}}, want{passed, "1 of 1 are right (you may not list a)"}},
		"some are not verified": {survey.Survey{Targets: in(survey.Unverified)}, want{passed, "1 of 1"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgeAsking(&test.found)) })
	}
}
