package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// TestKustomizeTakesPlainManifests has kustomize build what make manifests renders. kubectl applies that, and caject works in a namespace that it
// was rendered for. With a namespace: of kustomize's it gets the objects of another one, and arguments and policies of the former: it does not
// get ready, and says which account it is that may not do what. To apply what was rendered for the right namespace is the way out.
func TestKustomizeTakesPlainManifests(t *testing.T) {
	t.Parallel()
	i := bare(t)
	moved := kustomize(t, i.manifestsToRun(t, "caject"), "namespace: security")
	for _, left := range []string{
		"--ca-secret=caject/caject-ca", "--serving-names=caject.caject.svc", "--leader-election-namespace=caject", "--publish-to=caject/caject",
		"inject-ca-from-secret: caject/caject-ca", // caject's own configurations
		"system:serviceaccount:caject:caject'",    // policies
		"\n    namespace: caject\n",               // paramRef of their bindings
		"kubernetes.io/metadata.name: caject\n",   // what they guard
		"\n        namespace: caject\n",           // who has a queue of its own
	} {
		if !strings.Contains(moved, left) {
			t.Errorf("kustomize changes %q, and documents say that it does not", left)
		}
	}
	if strings.Contains(moved, "namespace: default") {
		t.Error("kustomize leaves the Role for Events in default, and documents say that it does not")
	}
	i.apply(t, moved, "security")
	process := i.run(t, "moved.log")
	eventually(t, "it is said", func(context.Context) error {
		if process.Logged("Not ready", "create Secret caject/caject-ca", "system:serviceaccount:security:caject") == 0 {
			return errors.New(process.ReadLog())
		}
		return nil
	})
	if process.Ready(t.Context()) {
		t.Error("it is ready")
	}
	if err := process.Stop(); err != nil {
		t.Error(err)
	}

	i.apply(t, kustomize(t, i.manifestsToRun(t, "security"), "commonAnnotations: {team: platform}"), "security")
	getsReady(t, i.run(t, "caject.log"))
	i.works(t, "kustomize")
	configuration := playground.NewValidating("kustomize", 1, playground.FromSecret(namespace, "nowhere"))
	i.create(t, configuration)
	i.event(t, configuration, string(cabundle.SourceNotFound))
}

// manifestsToRun renders the chart for a namespace, such that the playground can run caject.
func (i *installation) manifestsToRun(t *testing.T, in string) (path string) {
	t.Helper()
	var err error
	if i.Installation, err = playground.NewInstallation(i.control); err != nil {
		t.Fatal(err)
	}
	values := map[string]map[string]any{}
	for _, line := range i.Values() {
		key, text, _ := strings.Cut(line, "=")
		group, name, _ := strings.Cut(key, ".")
		var value any // a port is a number
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if values[group] == nil {
			values[group] = map[string]any{}
		}
		values[group][name] = value
	}
	content, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return i.manifests(t, "NAMESPACE="+in, "VALUES="+file)
}

// kustomize builds manifests, with settings more in the kustomization.
func kustomize(t *testing.T, manifests, settings string) (built string) {
	t.Helper()
	content, err := os.ReadFile(manifests)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, text := range map[string]string{"caject.yaml": string(content), "kustomization.yaml": "resources: [caject.yaml]\n" + settings + "\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := shared.control.Kubectl(t.Context(), "", "kustomize", folder)
	if err != nil {
		t.Fatal(err)
	}
	return out.Stdout
}

// apply applies manifests by kubectl, and reads how caject is to run in a namespace.
func (i *installation) apply(t *testing.T, manifests, in string) {
	t.Helper()
	if _, err := i.control.Kubectl(t.Context(), manifests, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if err := i.ReadIn(t.Context(), i.control, in); err != nil {
		t.Fatal(err)
	}
}
