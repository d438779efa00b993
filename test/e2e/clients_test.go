package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// manifest is what somebody has under version control: a configuration and a CRD, with or without a caBundle of their own.
func manifest(t *testing.T, name, generation string, caBundle *string) (string, []client.Object) {
	t.Helper()
	webhook, crd := playground.NewValidating(name, 2, playground.FromSecret(namespace, name)), playground.NewCRD(name, playground.FromSecret(namespace, name))
	webhook.TypeMeta.APIVersion, webhook.TypeMeta.Kind = "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"
	crd.TypeMeta.APIVersion, crd.TypeMeta.Kind = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
	var text strings.Builder
	for _, object := range []client.Object{webhook, crd} {
		object.SetLabels(map[string]string{"generation": generation})
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, "status")
		if caBundle != nil {
			fill := func(clientConfig any) { clientConfig.(map[string]any)["caBundle"] = *caBundle }
			if webhooks, ok := fields["webhooks"].([]any); ok {
				for _, w := range webhooks {
					fill(w.(map[string]any)["clientConfig"])
				}
			} else {
				conversion := fields["spec"].(map[string]any)["conversion"].(map[string]any)
				fill(conversion["webhook"].(map[string]any)["clientConfig"])
			}
		}
		encoded, err := yaml.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "---\n%s", encoded)
	}
	return text.String(), []client.Object{webhook, crd}
}

// TestWhoAppliesAgainHasNoConflict applies, lets caject inject and rotate, and applies again, with each client and each way to
// leave the caBundle to others.
func TestWhoAppliesAgainHasNoConflict(t *testing.T) {
	t.Parallel()
	empty, placeholder := "", "Cg=="
	styles := map[string]*string{"absent": nil, "empty": &empty, "placeholder": &placeholder}
	kubectl := func(args ...string) func(*testing.T, string, string) error {
		return func(t *testing.T, _, manifest string) error {
			output, err := shared.control.Kubectl(t.Context(), manifest, append(args, "-f", "-")...)
			if err == nil && strings.Contains(output.Stderr, "onflict") {
				err = fmt.Errorf("kubectl says %s", output.Stderr)
			}
			return err
		}
	}
	helm := func(args ...string) func(*testing.T, string, string) error {
		return func(t *testing.T, name, manifest string) error {
			chart := t.TempDir()
			if err := os.Mkdir(filepath.Join(chart, "templates"), 0o700); err != nil {
				return err
			}
			for file, content := range map[string]string{
				"Chart.yaml": "apiVersion: v2\nname: " + name + "\nversion: 0.1.0\n", "templates/all.yaml": manifest,
			} {
				if err := os.WriteFile(filepath.Join(chart, file), []byte(content), 0o600); err != nil {
					return err
				}
			}
			_, err := shared.control.Helm(t.Context(), append([]string{"upgrade", "--install", name, chart, "--namespace", namespace}, args...)...)
			return err
		}
	}
	clients := map[string]func(t *testing.T, name, manifest string) error{
		"kubectl apply":               kubectl("apply"),
		"kubectl apply --server-side": kubectl("apply", "--server-side"),
		"helm, server-side":           helm("--server-side=true"),
		"helm, client-side":           helm("--server-side=false"),
	}
	n := 0
	for tool, apply := range clients {
		for style, caBundle := range styles {
			n++
			name := fmt.Sprintf("client%c", 'a'+n)
			t.Run(tool+", caBundle "+style, func(t *testing.T) {
				t.Parallel()
				first, second := playground.NewCA("first"), playground.NewCA("second")
				shared.create(t, playground.NewSecret(namespace, name, first))
				text, objects := manifest(t, name, "1", caBundle)
				if err := apply(t, name, text); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					for _, object := range objects {
						_ = client.IgnoreNotFound(shared.client.Delete(t.Context(), object))
					}
				})
				for _, object := range objects {
					shared.filled(t, object, first)
					shared.ownerless(t, object)
				}
				shared.published(t, name)
				text, _ = manifest(t, name, "2", caBundle)
				if err := apply(t, name, text); err != nil {
					t.Fatal("again:", err)
				}
				for _, object := range objects {
					if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
						t.Fatal(err)
					}
					if err := holds(object, first); err != nil {
						t.Error("right after it was applied again:", err)
					}
				}
				shared.changeSecret(t, name, func(s *corev1.Secret) { s.Data["ca.crt"] = second })
				for _, object := range objects {
					shared.filled(t, object, first, second)
					shared.ownerless(t, object)
				}
				text, _ = manifest(t, name, "3", caBundle)
				if err := apply(t, name, text); err != nil {
					t.Fatal("after a rotation:", err)
				}
				for _, object := range objects {
					shared.filled(t, object, first, second)
					if object.GetLabels()["generation"] != "3" {
						t.Errorf("%T was not applied: %v", object, object.GetLabels())
					}
					if object.GetAnnotations()[cabundle.InjectCAFromSecretAnnotation] == "" {
						t.Errorf("%T lost its annotation", object)
					}
				}
			})
		}
	}
}
