package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// application is an Application of Argo CD, as YAML: what a user says in it about syncing and comparing.
type application string

// The ways in which Argo CD writes.
var (
	clientSide = newApplication("{}", "{}")
	serverSide = newApplication("{}", "{syncPolicy: {syncOptions: [ServerSideApply=true]}}")
	replacing  = newApplication("{}", "{syncPolicy: {syncOptions: [Replace=true]}}")
)

func newApplication(annotations, spec string) application {
	return application(fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: example, annotations: %s}\nspec: %s\n", annotations, spec))
}

// onThePage returns the YAML in docs/gitops.md that holds word: an Application, mostly.
func onThePage(t *testing.T, word string) application {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(projectRoot(t), "docs", "gitops.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []application
	for n, block := range strings.Split(string(page), "```") {
		if yaml, isYAML := strings.CutPrefix(block, "yaml\n"); n%2 == 1 && isYAML && strings.Contains(yaml, word) {
			found = append(found, application(yaml))
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d parts of docs/gitops.md hold %s", len(found), word)
	}
	return found[0]
}

func (a application) sync(t *testing.T, _, manifests string) error {
	_, err := shared.control.Client(t.Context(), manifests, "argocd", "-application", a.file(t), "sync")
	return err
}

// compare returns the objects that Argo CD calls OutOfSync, and why.
func (a application) compare(t *testing.T, _, manifests string) ([]string, error) {
	output, err := shared.control.Client(t.Context(), manifests, "argocd", "-application", a.file(t), "compare")
	return linesWithout(output.Stdout, " Synced"), err
}

func (a application) file(t *testing.T) string { return written(t, "application.yaml", string(a)) }

// with returns a with values of the chart (helm's --set) that it installs.
func (a application) with(t *testing.T, values []string) application {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(a), &object); err != nil {
		t.Fatal(err)
	}
	var parameters []any
	for _, value := range values {
		name, value, _ := strings.Cut(value, "=")
		parameters = append(parameters, map[string]any{"name": name, "value": value})
	}
	if err := unstructured.SetNestedSlice(object, parameters, "spec", "source", "helm", "parameters"); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return application(text)
}

// TestWhatArgoCDCallsSynced syncs in each way, lets caject inject, and compares in each way. It is what docs/gitops.md says.
func TestWhatArgoCDCallsSynced(t *testing.T) {
	t.Parallel()
	const serverSideApply = "{syncPolicy: {syncOptions: [ServerSideApply=true]}}"
	serverSideDiff, ignoreDifferences := onThePage(t, "ServerSideDiff"), onThePage(t, "ignoreDifferences")
	includeWebhooks := newApplication("{argocd.argoproj.io/compare-options: 'ServerSideDiff=true,IncludeMutationWebhook=true'}", serverSideApply)
	always, onlyAbsent := "absent empty placeholder", "absent"
	dryRun := always
	if !shared.byPolicy(t, cabundle.MutatingWebhookConfiguration) {
		dryRun = "absent empty"
	}
	tests := map[string]struct {
		sync, compare application
		synced        string // the styles
	}{
		"client-side":                             {clientSide, clientSide, onlyAbsent},
		"server-side":                             {serverSide, serverSide, onlyAbsent},
		"replaced":                                {replacing, replacing, onlyAbsent},
		"client-side, then a server-side diff":    {clientSide, serverSideDiff, dryRun},
		"server-side, then a server-side diff":    {serverSideDiff, serverSideDiff, dryRun},
		"replaced, then a server-side diff":       {replacing, serverSideDiff, dryRun},
		"a server-side diff with webhooks in it":  {serverSide, includeWebhooks, dryRun},
		"client-side, then ignoring a difference": {clientSide, ignoreDifferences, always},
		"server-side, then ignoring a difference": {serverSide, newApplicationIgnoring(ignoreDifferences), always},
		"replaced, then ignoring a difference":    {replacing, ignoreDifferences, always},
	}
	n := 0
	for sentence, test := range tests {
		for style, caBundle := range styles() {
			n++
			name := fmt.Sprintf("argocd%c%c", 'a'+n/26, 'a'+n%26)
			t.Run(sentence+", caBundle "+style, func(t *testing.T) {
				t.Parallel()
				ca := playground.NewCA(name)
				shared.create(t, playground.NewSecret(namespace, name, ca))
				s := newStory(t, tool{apply: test.sync.sync}, name, caBundle)
				s.begin(t)
				s.filled(t, ca)
				shared.published(t, name)
				text, _ := manifestsOf(t, name, "1", caBundle)
				differing, err := test.compare.compare(t, name, text)
				if err != nil {
					t.Fatal(err)
				}
				switch synced := strings.Contains(test.synced, style); {
				case synced && len(differing) > 0:
					t.Errorf("OutOfSync:\n%s", strings.Join(differing, "\n"))
				case !synced && len(differing) == 0:
					t.Error("Synced")
				}
				for _, line := range differing {
					if !strings.Contains(line, "caBundle") && !strings.Contains(line, "clientConfig") {
						t.Errorf("differs in something else: %s", line)
					}
				}
			})
		}
	}
}

// newApplicationIgnoring is a with server-side apply: then Argo CD compares by structured merge.
func newApplicationIgnoring(a application) application {
	return application(strings.Replace(string(a), "\nspec:\n", "\nspec:\n  syncPolicy: {syncOptions: [ServerSideApply=true]}\n", 1))
}
