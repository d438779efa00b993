package field

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// webhookChart is the template of a chart as many operators have it: the caBundle is left to an injector, in one of three ways.
const webhookChart = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: {{ .Release.Name }}
  labels: {version: {{ .Values.version | quote }}}
  annotations: {cert-manager.io/inject-ca-from-secret: trial/helm}
webhooks:
{{- range until (int .Values.webhooks) }}
- name: w{{ . }}.helm.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  rules: [{apiGroups: [nothing.example.com], apiVersions: [v1], resources: [nothings], operations: [CREATE]}]
  clientConfig:
    {{- $.Values.caBundle | nindent 4 }}
    service: {namespace: default, name: webhook}
{{- end }}
`

// "failed calling webhook: x509: certificate signed by unknown authority" after helm upgrade (projectcapsule/capsule#546), "unable to load root
// certificates" (fluid-cloudnative/fluid#1399), a loop that deletes the caBundle (bank-vaults/vault-secrets-webhook#309), and webhooks that were
// added and get none (kubev2v/forklift#596): install, upgrade with a webhook more, upgrade with the same, roll back.
func TestUnknownAuthorityAfterHelmUpgrade(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		chart := t.TempDir()
		for name, text := range map[string]string{"Chart.yaml": "{apiVersion: v2, name: example, version: 0.1.0}", "templates/webhook.yaml": webhookChart} {
			path := filepath.Join(chart, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ca := playground.NewCA("helm")
		f.create(t, playground.NewSecret(trial.Namespace, "helm", ca))
		for helm, run := range map[string]func(context.Context, ...string) (playground.Output, error){"three": f.Control.Helm3, "four": f.Control.Helm} {
			for style, caBundle := range map[string]string{"absent": "", "empty": `caBundle: ""`, "placeholder": "caBundle: Cg=="} {
				release := helm + "-" + style
				step := func(webhooks int, args ...string) {
					args = append([]string{args[0], release}, append(args[1:], "--namespace", "default")...)
					if _, err := run(t.Context(), args...); err != nil {
						t.Fatal(err)
					}
					f.rolledOut(t, release, webhooks, ca)
				}
				values := func(version, webhooks int) []string {
					return []string{chart, "--set-string", "caBundle=" + caBundle, "--set", fmt.Sprintf("version=%d,webhooks=%d", version, webhooks)}
				}
				t.Cleanup(func() { _, _ = run(context.WithoutCancel(t.Context()), "uninstall", release, "--namespace", "default") })
				step(2, append([]string{"install"}, values(1, 2)...)...)
				step(3, append([]string{"upgrade"}, values(2, 3)...)...)
				step(3, append([]string{"upgrade"}, values(2, 3)...)...)
				step(2, "rollback", "1")
			}
		}
	})
}

// rolledOut fails the test unless what helm has just written gets to hold ca in all its webhooks. With the policies it does already.
func (f *field) rolledOut(t *testing.T, name string, webhooks int, ca []byte) {
	t.Helper()
	object := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
	if len(object.Webhooks) != webhooks {
		t.Fatalf("%s has %d webhooks, not %d", name, len(object.Webhooks), webhooks)
	}
	if err := playground.Holds(object, ca); err != nil && f.policies && object.Labels["version"] == "2" {
		t.Errorf("right after helm: %v", err)
	}
	f.filled(t, object, ca)
}
