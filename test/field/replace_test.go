package field

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// An operator compares its caBundle with the ca.crt of its Secret and does not start, or writes it over and over: after a rotation caject
// has the former CA in it, too. A target can ask for the present one alone; one that merges is beside it.
func TestTheOperatorWaitsUntilItsCABundleIsTheSecrets(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		for kind, make := range trial.Kinds {
			t.Run([]string{"CRD", "APIService", "Validating", "Mutating"}[kind], func(t *testing.T) {
				t.Parallel()
				name := strings.ToLower(strings.ReplaceAll(t.Name()[strings.LastIndex(t.Name(), "/")+1:], "_", "")) + "-replace"
				first, second, third := playground.NewCA("first"), playground.NewCA("second"), playground.NewCA("third")
				secret := playground.NewSecret(trial.Namespace, name, first)
				f.create(t, secret)
				replacing, merging := make(name, playground.FromSecret(trial.Namespace, name)), make(name+"-beside", playground.FromSecret(trial.Namespace, name))
				mode := func(object client.Object, value string) {
					annotations := object.GetAnnotations()
					annotations[cabundle.ModeAnnotation] = value
					object.SetAnnotations(annotations)
				}
				mode(replacing, "replace")
				f.create(t, replacing, merging)
				f.filled(t, replacing, first)
				f.filled(t, merging, first)

				f.rotate(t, secret, second)
				f.filled(t, replacing, second)
				f.filled(t, merging, first, second)

				f.rewrite(t, replacing, func() { playground.SetCABundles(replacing, []byte("\n")) })
				f.filled(t, replacing, second)

				f.rewrite(t, replacing, func() { mode(replacing, "merge") })
				f.filled(t, replacing, second, first)
				f.rewrite(t, merging, func() { mode(merging, "replace") })
				f.filled(t, merging, second)
				f.rotate(t, secret, third)
				f.filled(t, merging, third)
			})
		}
	})
}

// rotate has secret hold ca.
func (f *field) rotate(t *testing.T, secret *corev1.Secret, ca []byte) {
	t.Helper()
	eventually(t, "rotate "+secret.Name, func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		secret.Data["ca.crt"] = ca
		return f.Client.Update(ctx, secret)
	})
}
