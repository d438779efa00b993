package e2e

import (
	"strings"
	"testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// TestScope installs the chart for one namespace of sources and three kinds of target.
func TestScope(t *testing.T) {
	t.Parallel()
	i := own(t, "sources.namespaces={default}", "sources.certificates=false", "targets.apiservices=false", "resyncInterval=1s")
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca := playground.NewCA("scope")
	for _, in := range []string{"default", namespace} {
		i.create(t, playground.NewSecret(in, "scope", ca))
	}
	for kind, make := range kinds {
		name := strings.ToLower(string(kind))
		inside := make("in"+name, playground.FromSecret("default", "scope"))
		outside := make("out"+name, playground.FromSecret(namespace, "scope"))
		certificate := make("certificate"+name, map[string]string{cabundle.InjectCAFromAnnotation: "default/scope"})
		i.create(t, inside, outside, certificate)
		if kind == cabundle.APIService {
			if err := playground.Holds(inside, nil); err != nil {
				t.Error("a kind that is switched off:", err)
			}
			continue
		}
		i.filled(t, inside, ca)
		if message := i.event(t, outside, string(cabundle.SourceOutOfScope)); !strings.Contains(message, "other namespaces only") {
			t.Errorf("Event %q", message)
		}
		if message := i.event(t, certificate, string(cabundle.SourceOutOfScope)); !strings.Contains(message, "not to read Certificates") {
			t.Errorf("Event %q", message)
		}
		i.filled(t, outside, nil)
	}
	const account = "system:serviceaccount:" + playground.Namespace + ":caject"
	for question, want := range map[string]string{
		"get secrets --namespace default":                           "yes",
		"get secrets --namespace kube-system":                       "no",
		"get secrets/caject-ca --namespace " + playground.Namespace: "yes",
		"get secrets --namespace " + playground.Namespace:           "no",
		"get certificates.cert-manager.io --namespace default":      "no",
		"watch apiservices":                                         "no",
		"watch mutatingwebhookconfigurations":                       "yes",
	} {
		output, err := i.control.Kubectl(t.Context(), "", append(append([]string{"auth", "can-i"}, strings.Fields(question)...), "--as", account)...)
		if got := strings.TrimSpace(output.Stdout); got != want {
			t.Errorf("can-i %s: %s (%v)", question, got, err)
		}
	}
	if n := process.Logged("level=ERROR"); n > 0 {
		t.Errorf("%d errors are logged:\n%s", n, process.ReadLog())
	}
}
