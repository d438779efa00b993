package survey

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func account(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
}

func TestWhichAccountsAreCajects(t *testing.T) {
	t.Parallel()
	chart := map[string]string{InstallationLabel: "caject"}
	tests := map[string]struct {
		binding binding
		want    []client.ObjectKey
	}{
		"a binding of the chart, in the account's namespace":              {binding{"caject", chart, []rbacv1.Subject{account("caject", "x")}, rbacv1.RoleRef{}}, []client.ObjectKey{{Namespace: "caject", Name: "x"}}},
		"one in another, as for Prometheus":                               {binding{"caject", chart, []rbacv1.Subject{account("monitoring", "x")}, rbacv1.RoleRef{}}, nil},
		"one for everywhere, which others may have as well":               {binding{"", chart, []rbacv1.Subject{account("caject", "x")}, rbacv1.RoleRef{}}, nil},
		"one of somebody else":                                            {binding{"caject", nil, []rbacv1.Subject{account("caject", "x")}, rbacv1.RoleRef{}}, nil},
		"a person":                                                        {binding{"caject", chart, []rbacv1.Subject{{Kind: rbacv1.UserKind, Namespace: "caject", Name: "x"}}, rbacv1.RoleRef{}}, nil},
		"the same account twice in one binding, as nobody would write it": {binding{"caject", chart, []rbacv1.Subject{account("caject", "x"), account("caject", "x")}, rbacv1.RoleRef{}}, []client.ObjectKey{{Namespace: "caject", Name: "x"}}},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, accountsOf([]binding{test.binding})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhoIsMeant(t *testing.T) {
	t.Parallel()
	caject := client.ObjectKey{Namespace: "caject", Name: "x"}
	tests := map[string]struct {
		subject rbacv1.Subject
		want    bool
	}{
		"the account":                           {account("caject", "x"), true},
		"another":                               {account("caject", "y"), false},
		"one of that name in another namespace": {account("other", "x"), false},
		"all accounts":                          {rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts"}, true},
		"everybody":                             {rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:authenticated"}, true},
		"all of its namespace":                  {rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:caject"}, true},
		"all of another":                        {rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:other"}, false},
		"the account as a user":                 {rbacv1.Subject{Kind: rbacv1.UserKind, Name: "system:serviceaccount:caject:x"}, true},
		"another user":                          {rbacv1.Subject{Kind: rbacv1.UserKind, Name: "x"}, false},
	}
	for name, test := range tests {
		if got := means(test.subject, caject); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhichEndpointsAreReady(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	slice := func(ready ...*bool) discoveryv1.EndpointSlice {
		var s discoveryv1.EndpointSlice
		for _, r := range ready {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: r}})
		}
		return s
	}
	for name, test := range map[string]struct {
		slice discoveryv1.EndpointSlice
		want  bool
	}{
		"none": {slice(), false}, "one": {slice(&yes), true}, "one that is not": {slice(&no), false},
		"one of two": {slice(&no, &yes), true}, "one that does not say": {slice(nil), true},
	} {
		if got := hasReady(test.slice); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
