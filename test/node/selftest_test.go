package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

// TestHelmTest has the chart prove an injection, in a pod of caject's image alone, with the policies and without; and once where nothing can be
// injected, since no pod runs.
func TestHelmTest(t *testing.T) {
	ctx := t.Context()
	for _, test := range []struct {
		values []string
		well   bool
		want   []string // in the log
	}{
		{nil, true, []string{"MutatingWebhookConfiguration: injected", "CustomResourceDefinition: injected", "APIService: injected"}},
		{[]string{"policy.enabled=false"}, true, []string{"CustomResourceDefinition: injected", "APIService: injected"}},
		{[]string{"policy.enabled=false"}, false, []string{"neither caject nor a policy has answered"}},
	} {
		if err := cluster.upgrade(ctx, test.values...); err != nil {
			t.Fatal(err)
		}
		if !test.well {
			namespaced := []string{"--namespace", playground.Namespace}
			// A pod that is to end goes on answering for a while.
			for _, args := range [][]string{
				{"scale", "deployment/caject", "--replicas=0"}, {"wait", "--for=delete", "pod", "--selector", selector, "--timeout", patience.String()},
			} {
				if _, err := cluster.Kubectl(ctx, "", append(namespaced, args...)...); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, err := cluster.Helm(ctx, "test", "caject", "--namespace", playground.Namespace, "--timeout", patience.String())
		if (err == nil) != test.well {
			t.Errorf("%q: helm test says %v", test.values, err)
		}
		out, err := cluster.Kubectl(ctx, "", "--namespace", playground.Namespace, "logs", "caject-selftest")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%q:\n%s", test.values, out.Stdout)
		for _, want := range test.want {
			if !strings.Contains(out.Stdout, want) {
				t.Errorf("%q: its log is %q", test.values, out.Stdout)
			}
		}
		out, err = cluster.Kubectl(ctx, "", "get", "clusterroles,clusterrolebindings,serviceaccounts", "--namespace", playground.Namespace, "--output", "name")
		if err != nil || strings.Contains(out.Stdout, "selftest") {
			t.Errorf("%q: rights are left: %s, %v", test.values, out.Stdout, err)
		}
	}
	if _, err := cluster.Kubectl(ctx, "", "--namespace", playground.Namespace, "delete", "pod", "caject-selftest"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(cluster.scale(ctx, 2), cluster.upgrade(ctx)); err != nil {
		t.Fatal(err)
	}
}
