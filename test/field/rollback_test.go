package field

import (
	"fmt"
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// A rotation is taken back, and the operator that compares its caBundle with the Secret's ca.crt waits for ever: what targets that merge hold
// is the same before and after. Those that replace follow, and neither disturbs the other: nothing is written in the quiet that follows.
func TestTheOperatorWaitsAfterARotationIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, policies := range []bool{true, false} {
		t.Run(fmt.Sprintf("policies %t", policies), func(t *testing.T) {
			f := own(t, policies)
			first, second := playground.NewCA("first"), playground.NewCA("second")
			secret := playground.NewSecret(trial.Namespace, "taken-back", first)
			f.create(t, secret)
			var replacing, merging []client.Object
			for kind, make := range trial.Kinds {
				name := fmt.Sprintf("taken-back%d", kind)
				annotations := playground.FromSecret(trial.Namespace, secret.Name)
				merging = append(merging, make(name+"-merge", annotations))
				annotations = playground.FromSecret(trial.Namespace, secret.Name)
				annotations[cabundle.ModeAnnotation] = "replace"
				replacing = append(replacing, make(name, annotations))
			}
			f.create(t, append(replacing, merging...)...)
			hold := func(wantOfReplacing, wantOfMerging []byte) {
				t.Helper()
				for i := range replacing {
					f.filled(t, replacing[i], wantOfReplacing)
					f.filled(t, merging[i], wantOfMerging)
				}
			}
			hold(first, first)
			f.rotate(t, secret, second)
			hold(second, slices.Concat(first, second))
			f.rotate(t, secret, first)
			hold(first, slices.Concat(first, second))
			f.rotate(t, secret, slices.Concat(second, first))
			hold(slices.Concat(second, first), slices.Concat(first, second))

			f.quiet(t)
			hold(slices.Concat(second, first), slices.Concat(first, second))
		})
	}
}
