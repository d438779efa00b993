package resync

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
)

// TestATargetThatReplacesFollowsItsSource is about changes of a source, and what the targets hold then that ask for what it holds and
// nothing else. What those hold that merge may be the same before and after.
func TestATargetThatReplacesFollowsItsSource(t *testing.T) {
	for sentence, sources := range map[string][][]byte{
		"a rotation":                       {caOne, caTwo},
		"a rotation that is taken back":    {caOne, caTwo, caOne},
		"a CA beside another one":          {caOne, slices.Concat(caOne, caTwo)},
		"a CA that leaves a source of two": {slices.Concat(caOne, caTwo), caTwo},
		"the other order":                  {slices.Concat(caOne, caTwo), slices.Concat(caTwo, caOne)},
	} {
		t.Run(sentence, func(t *testing.T) {
			rigged(t, Options{}, func(t *testing.T, r *rig) {
				r.targets.edit(target, func(o metav1.Object) {
					annotations := o.GetAnnotations()
					annotations[cabundle.ModeAnnotation] = "replace"
					o.SetAnnotations(annotations)
				})
				for n, source := range sources {
					r.sources.set(secret, source)
					if n == 0 {
						r.show(target)
					} else {
						r.tick(t, secret)
					}
					r.work(t)
					r.expect(t, source)
				}
				r.targets.forget()
				r.during(t, interval)
				if writes := r.targets.writes(); writes > 0 {
					t.Errorf("it is right, and written %d times", writes)
				}
			})
		})
	}
}

// TestNoPolicyIsAskedToFillATargetThatReplaces: it would fill in what was merged, if it did not leave the target alone.
func TestNoPolicyIsAskedToFillATargetThatReplaces(t *testing.T) {
	rigged(t, Options{}, func(t *testing.T, r *rig) {
		r.publisher.policy = true
		r.targets.edit(target, func(o metav1.Object) {
			annotations := o.GetAnnotations()
			annotations[cabundle.ModeAnnotation] = "replace"
			o.SetAnnotations(annotations)
		})
		r.show(target)
		r.work(t)
		r.expect(t, caOne)
		r.sources.set(secret, caTwo)
		r.tick(t, secret)
		r.work(t)
		r.expect(t, caTwo)
		if r.targets.readmits > 0 {
			t.Errorf("it was admitted again %d times", r.targets.readmits)
		}
	})
}
