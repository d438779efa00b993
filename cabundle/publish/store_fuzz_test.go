package publish

import (
	"testing"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// FuzzStoredOf reads CABundles as nobody but caject should write them. Whatever stands there, the replicas can go on from it, and what they
// store then is read as it was written.
func FuzzStoredOf(f *testing.F) {
	now := start
	history := cabundle.History{}.Observe(now, cabundle.Reading{Bundle: cabundle.ParseExisting(ca("one")), Version: 3})
	good := objectOf(source, &v1alpha1.CABundle{}, Stored{History: history, Published: cabundle.Published{}.Next(history.Bundle(now), false)})
	f.Add(good.Spec.CABundle, good.Spec.History)
	f.Add("", "")
	f.Add("!", "{")
	f.Add(good.Spec.CABundle, `{"observed":-1,"known":{"":{"last":-1,"retired":9223372036854775807,"distrust":-1}}}`)
	f.Add("", `{"observed":9223372036854775807,"withdrawn":1,"known":{"x":{"notAfter":"9999-12-31T23:59:59Z","gone":"0001-01-01T00:00:00Z"}}}`)
	other := cabundle.Reading{Bundle: cabundle.ParseExisting(ca("two")), Version: 4}
	f.Fuzz(func(t *testing.T, caBundle, history string) {
		stored := storedOf(&v1alpha1.CABundle{Spec: v1alpha1.CABundleSpec{CABundle: caBundle, History: history}})
		known, _ := stored.History.Merge(cabundle.History{}.Observe(now, other)).Date(now).Trim(now, cabundle.MaxSourceBytes)
		known = cabundle.Rules{RetireAfter: time.Minute}.Observe(now, known, other)
		published := stored.Published.Next(known.BundleAfter(now, nil), false)
		again := storedOf(objectOf(source, &v1alpha1.CABundle{}, Stored{History: known, Published: published}))
		if again.History.Adds(now, known) || known.Adds(now, again.History) {
			t.Errorf("stored: %+v, read: %+v", known, again.History)
		}
	})
}
