//go:build helmcontroller

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/caject/caject/test/playground"
)

// The modules whose CRDs these are: of the version that test/clients/helmcontroller builds, and the one that goes with it.
const (
	helmController   = "github.com/fluxcd/helm-controller@v1.4.0"
	sourceController = "github.com/fluxcd/source-controller@v1.7.0"
)

// flux is Flux's helm-controller at work. The test is its source-controller.
type flux struct {
	*installation
	charts string // the folder that it serves charts from
	url    string
}

// newFlux gives the API server Flux's CRDs, and runs helm-controller until the test ends.
func newFlux(t *testing.T, i *installation) *flux {
	t.Helper()
	f := &flux{installation: i, charts: t.TempDir()}
	server := httptest.NewServer(http.FileServer(http.Dir(f.charts)))
	t.Cleanup(server.Close)
	f.url = server.URL
	for crd, module := range map[string]string{"helm.toolkit.fluxcd.io_helmreleases": helmController, "source.toolkit.fluxcd.io_helmcharts": sourceController, "source.toolkit.fluxcd.io_ocirepositories": sourceController} {
		dir, err := playground.ModuleDir(t.Context(), module)
		if err != nil {
			t.Fatal(err)
		}
		f.kubectl(t, "", "apply", "--server-side", "-f", filepath.Join(dir, "config", "crd", "bases", crd+".yaml"))
	}
	f.kubectl(t, "", "wait", "--for=condition=Established", "crd", "--all")
	f.kubectl(t, "", "create", "namespace", "flux-system")
	port := freePort(t)
	process, err := playground.StartProcess([]string{
		"env", "KUBECONFIG=" + i.control.Kubeconfig, "HOME=" + t.TempDir(), "RUNTIME_NAMESPACE=flux-system",
		filepath.Join(projectRoot(t), "bin", "helm-controller"), fmt.Sprintf("--health-addr=127.0.0.1:%d", port), "--metrics-addr=0",
	}, port, filepath.Join(t.TempDir(), "helm-controller.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("helm-controller:\n%s", process.ReadLog())
		}
	})
	return f
}

func (f *flux) kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	output, err := f.control.Kubectl(t.Context(), input, args...)
	if err != nil {
		t.Fatal(err)
	}
	return output.Stdout
}

// apply applies what stands on the page, with values of the chart (helm's --set), and without waiting for pods.
func (f *flux) apply(t *testing.T, page string, values []string) {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(page), 4096)
	for range 2 {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); err != nil {
			t.Fatal(err)
		}
		if object.GetKind() == "HelmRelease" {
			for _, action := range []string{"install", "upgrade"} {
				set(t, object, true, "spec", action, "disableWait")
			}
			for _, value := range values {
				name, text, _ := strings.Cut(value, "=")
				var typed any
				if err := yaml.Unmarshal([]byte(text), &typed); err != nil {
					t.Fatal(err)
				}
				set(t, object, typed, append([]string{"spec", "values"}, strings.Split(name, ".")...)...)
			}
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		f.kubectl(t, string(text), "apply", "--validate=strict", "-f", "-")
	}
}

func set(t *testing.T, object *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

// publish packages the chart as version, and says in the OCIRepository where it is, as source-controller does.
func (f *flux) publish(t *testing.T, version string) {
	t.Helper()
	if _, err := f.control.Helm(t.Context(), "package", filepath.Join(projectRoot(t), "charts", "caject"), "--version", version, "--destination", f.charts); err != nil {
		t.Fatal(err)
	}
	file := "caject-" + version + ".tgz"
	content, err := os.ReadFile(filepath.Join(f.charts, file))
	if err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	now := time.Now().UTC().Format(time.RFC3339)
	status, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": 1,
		"artifact":           map[string]any{"path": file, "url": f.url + "/" + file, "revision": version + "@" + digest, "digest": digest, "lastUpdateTime": now, "size": len(content)},
		"conditions":         []any{map[string]any{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored", "lastTransitionTime": now, "observedGeneration": 1}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.kubectl(t, "", "patch", "ocirepository", "caject", "--namespace=flux-system", "--subresource=status", "--type=merge", "--patch", string(status))
}

// released waits until helm-controller calls the release ready, of the given version of the chart and revision of the release.
func (f *flux) released(t *testing.T, version string, revision int) {
	t.Helper()
	want := fmt.Sprintf("True %s %d", version, revision)
	eventually(t, "release "+version, func(ctx context.Context) error {
		output, err := f.control.Kubectl(ctx, "", "get", "helmrelease", "caject", "--namespace=flux-system", "--output",
			`jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.history[0].chartVersion} {.status.history[0].version}|{.status.conditions[?(@.type=="Ready")].message}`)
		if err != nil {
			return err
		}
		found, message, _ := strings.Cut(output.Stdout, "|")
		state, of, _ := strings.Cut(found, " ")
		of, number, _ := strings.Cut(of, " ")
		of, _, _ = strings.Cut(of, "+") // the digest of what comes from a registry
		if got := strings.Join([]string{state, of, number}, " "); got != want {
			return fmt.Errorf("%s, want %s: %s", got, want, message)
		}
		return nil
	})
}

// reconcile has helm-controller look at the release, and returns how often it has found drift so far.
func (f *flux) reconcile(t *testing.T) (drifts int) {
	t.Helper()
	asked := time.Now().Format(time.RFC3339Nano)
	f.kubectl(t, "", "annotate", "helmrelease", "caject", "--namespace=flux-system", "--overwrite", "reconcile.fluxcd.io/requestedAt="+asked)
	eventually(t, "reconcile", func(ctx context.Context) error {
		output, err := f.control.Kubectl(ctx, "", "get", "helmrelease", "caject", "--namespace=flux-system", "--output",
			`jsonpath={.status.lastHandledReconcileAt} {.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && output.Stdout != asked+" True" {
			err = errors.New(output.Stdout)
		}
		return err
	})
	events := f.kubectl(t, "", "get", "events", "--namespace=flux-system", "--field-selector=reason=DriftDetected", "--output=jsonpath={.items[*].count}")
	for count := range strings.FieldsSeq(events) {
		var n int
		if _, err := fmt.Sscan(count, &n); err != nil {
			t.Fatal(err)
		}
		drifts += n
	}
	return drifts
}

// TestFluxInstallsTheChart by the HelmRelease in docs/gitops.md: it upgrades, puts right what others have changed, takes nothing of what caject writes
// for drift, and uninstalls.
func TestFluxInstallsTheChart(t *testing.T) {
	t.Parallel()
	i := bare(t)
	f := newFlux(t, i)
	f.apply(t, string(onThePage(t, "kind: HelmRelease")), i.Values())
	f.publish(t, "0.1.0")
	f.released(t, "0.1.0", 1)
	targets, ca := i.begin(t, "flux")
	manifests := func() string {
		t.Helper()
		output, err := i.control.Helm(t.Context(), "get", "manifest", "caject", "--namespace", playground.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		return output.Stdout
	}
	drifts := 0
	i.unchanged(t, manifests(), func() { drifts = f.reconcile(t) })
	if drifts > 0 {
		t.Errorf("%d times drift without any", drifts)
	}
	secret := i.caSecret(t)
	f.kubectl(t, "", "delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--selector=app.kubernetes.io/instance=caject")
	f.kubectl(t, "", "scale", "deployment", "caject", "--namespace="+playground.Namespace, "--replicas=7")
	if drifts = f.reconcile(t); drifts == 0 {
		t.Error("no drift after somebody has deleted and changed things")
	}
	if replicas := f.kubectl(t, "", "get", "deployment", "caject", "--namespace="+playground.Namespace, "--output=jsonpath={.spec.replicas}"); replicas == "7" {
		t.Error("the change is not put right")
	}
	i.works(t, "fluxagain")
	f.publish(t, "0.1.1")
	f.released(t, "0.1.1", 2)
	i.unchanged(t, manifests(), func() { f.reconcile(t) })
	if now := i.caSecret(t); string(now.Data["ca.crt"]) != string(secret.Data["ca.crt"]) {
		t.Error("the CA Secret has changed")
	}
	f.kubectl(t, "", "delete", "helmrelease", "caject", "--namespace=flux-system", "--timeout=60s")
	i.nothingIsLeftBut(t, []string{"namespace/caject", "ocirepository.source.toolkit.fluxcd.io/caject"}, targets, ca)
}
