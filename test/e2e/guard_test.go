package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
)

// TestOnlyCajectWritesCABundles does as cluster admin what people do by accident.
func TestOnlyCajectWritesCABundles(t *testing.T) {
	t.Parallel()
	const name = "secret." + namespace + ".guarded"
	first, second := playground.NewCA("first"), playground.NewCA("second")
	shared.create(t, playground.NewSecret(namespace, "guarded", first))
	target := playground.NewValidating("guarded", 1, playground.FromSecret(namespace, "guarded"))
	shared.create(t, target)
	object := shared.publication(t, name, "all injected", func(o *v1alpha1.CABundle) bool { return ready(o) && o.Status.Injected == 1 })

	const manifest = "apiVersion: caject.io/v1alpha1\nkind: CABundle\nmetadata:\n  name: %s\nspec:\n  source: secret/e2e/intruder\n"
	refused := map[string]struct {
		input string
		args  []string
	}{
		"create":             {fmt.Sprintf(manifest, "secret.e2e.intruder"), []string{"create", "-f", "-"}},
		"create, dry run":    {fmt.Sprintf(manifest, "secret.e2e.intruder"), []string{"create", "--dry-run=server", "-f", "-"}},
		"apply":              {fmt.Sprintf(manifest, "secret.e2e.intruder"), []string{"apply", "--server-side", "-f", "-"}},
		"patch":              {"", []string{"patch", "cabundle", name, "--type=merge", `--patch={"metadata":{"finalizers":["example.com/x"]}}`}},
		"patch of status":    {"", []string{"patch", "cabundle", name, "--subresource=status", "--type=merge", `--patch={"status":{"targets":9}}`}},
		"label":              {"", []string{"label", "cabundle", name, "caject.io/not-ready=true"}},
		"annotate":           {"", []string{"annotate", "cabundle", name, "a=b"}},
		"create as somebody": {fmt.Sprintf(manifest, "secret.e2e.intruder"), []string{"create", "--as=system:serviceaccount:caject:other", "--as-group=system:masters", "-f", "-"}},
	}
	for sentence, test := range refused {
		// The API server takes a moment to evaluate a policy that is new.
		eventually(t, sentence, func(ctx context.Context) error {
			output, err := shared.control.Kubectl(ctx, test.input, test.args...)
			if err == nil || !strings.Contains(err.Error(), "caject publishes CABundles itself; delete it and caject makes it again") {
				return fmt.Errorf("kubectl says %q, %v", output.Stdout, err)
			}
			return nil
		})
	}
	if now := shared.publication(t, name, "there", ready); now.ResourceVersion != object.ResourceVersion {
		t.Errorf("it was written: %+v", now)
	}

	// caject's own writes pass: spec and status.
	shared.changeSecret(t, "guarded", func(s *corev1.Secret) { s.Data["ca.crt"] = second })
	object = shared.publication(t, name, "rotated", func(o *v1alpha1.CABundle) bool {
		return publishing(first, second)(o) && len(o.Status.Certificates) == 2 && o.Status.Injected == 1
	})

	// Deleting is the way out, with finalizers of somebody else's as well: it does not hang.
	if output, err := shared.control.Kubectl(t.Context(), "", "delete", "cabundle", name, "--cascade=foreground", "--wait=false"); err != nil {
		t.Fatal(output, err)
	}
	eventually(t, "take off the finalizer, as the garbage collector does", func(ctx context.Context) error {
		deleting := &v1alpha1.CABundle{}
		if err := shared.client.Get(ctx, client.ObjectKey{Name: name}, deleting); err != nil {
			return err
		}
		if deleting.UID != object.UID {
			return nil
		}
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		return client.IgnoreNotFound(shared.client.Patch(ctx, deleting, patch))
	})
	shared.publication(t, name, "made again", func(o *v1alpha1.CABundle) bool { return o.UID != object.UID && ready(o) })
	if output, err := shared.control.Kubectl(t.Context(), "", "delete", "cabundle", name); err != nil {
		t.Error(output, err)
	}
	shared.publication(t, name, "made again", ready)
	shared.filled(t, target, first, second)
}
