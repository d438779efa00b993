package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudgeInstaller(t *testing.T) {
	want{passed, "all of them"}.of(t, judgeInstaller(nil))
	want{failed, "you may not create deployments.apps in a, list secrets in a"}.of(t, judgeInstaller(slices.Concat(on("create", "apps", "a", "deployments"), on("list", "", "a", "secrets"))))
}

func TestJudgeEscalation(t *testing.T) {
	escalate, get := on("escalate", "rbac.authorization.k8s.io", "", "clusterroles"), on("get", "", "", "secrets")
	for sentence, test := range map[string]struct {
		beyond, lacking []right
		want            want
	}{
		"they may escalate":         {nil, nil, want{passed, "you may give"}},
		"they have the rights":      {escalate, nil, want{passed, "you have all rights"}},
		"they have neither of both": {escalate, get, want{failed, "nor may you escalate clusterroles.rbac.authorization.k8s.io: get secrets"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgeEscalation(test.beyond, test.lacking)) })
	}
}

// TestRightsThatCajectNeeds follows what it was started with.
func TestRightsThatCajectNeeds(t *testing.T) {
	with := func(flags ...string) *installation {
		i := defaults("ns")
		for _, flag := range flags {
			name, value, _ := strings.Cut(flag, "=")
			i.flags[name] = value
		}
		return i
	}
	for sentence, test := range map[string]struct {
		installation *installation
		with         []string
		without      []string
	}{
		"the defaults": {with(), []string{
			"get secrets", "get certificates.cert-manager.io", "patch apiservices.apiregistration.k8s.io", "create secrets caject-ca in ns",
			"update leases.coordination.k8s.io caject in ns", "delete podtemplates in ns", "update cabundles.caject.io/status", "create events in default",
		}, []string{"list secrets", "watch secrets"}},
		"named sources": {with("sources=secret/a/b,certificate/c/d"), []string{"get secrets b in a", "get certificates.cert-manager.io d in c"}, []string{"get secrets"}},
		"namespaces": {with("namespace=a,b", "enable-certificates-data-source=false"), []string{"get secrets in a", "get secrets in b"},
			[]string{"get secrets", "get certificates.cert-manager.io in a"}},
		"some kinds": {with("enable-apiservices-injectable=false", "enable-validatingwebhookconfigurations-injectable=false"),
			[]string{"patch validatingwebhookconfigurations.admissionregistration.k8s.io"}, []string{"patch apiservices.apiregistration.k8s.io"}},
		"no hints, no such kind": {with("hint-configuration=", "enable-validatingwebhookconfigurations-injectable=false"), nil,
			[]string{"patch validatingwebhookconfigurations.admissionregistration.k8s.io"}},
		"nothing published": {with("publish-to=", "target-events=false"), nil, []string{"create cabundles.caject.io", "create podtemplates in ns", "create events in default"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			needs := texts(test.installation.needs())
			for _, right := range test.with {
				if !slices.Contains(needs, right) {
					t.Errorf("%q is not among %q", right, needs)
				}
			}
			for _, right := range test.without {
				if slices.Contains(needs, right) {
					t.Errorf("%q is among them", right)
				}
			}
		})
	}
}

func TestJudgeNeeds(t *testing.T) {
	i := defaults("ns")
	i.deployment.Spec.Template.Spec.ServiceAccountName = "account"
	want{passed, "ServiceAccount ns/account has it"}.of(t, judgeNeeds(i, nil))
	want{failed, "ServiceAccount ns/account may not get secrets"}.of(t, judgeNeeds(i, on("get", "", "", "secrets")))
	want{passed, "neither list nor watch"}.of(t, judgeListing(i, true))
	want{failed, "ServiceAccount ns/account may list or watch all Secrets"}.of(t, judgeListing(i, false))
}

func TestLackingRightsAreInOrder(t *testing.T) {
	all := on("get,list,watch,create", "", "", "a", "b", "c", "d")
	lacking, err := lacks(t.Context(), func(_ context.Context, r right) (bool, error) { return r.verb == "get", nil }, all)
	if diff := cmp.Diff(texts(slices.DeleteFunc(slices.Clone(all), func(r right) bool { return r.verb == "get" })), texts(lacking)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := lacks(t.Context(), func(context.Context, right) (bool, error) { return false, errors.New("no") }, all); err == nil {
		t.Error("an error is lost")
	}
}
