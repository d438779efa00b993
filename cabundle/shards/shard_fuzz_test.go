package shards

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// FuzzParse reads shards as nobody but caject should write them. Whatever stands there, the replicas can go on from it, and what they store
// then is read as it was written.
func FuzzParse(f *testing.F) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	ca := func(name string) cabundle.Bundle {
		return cabundle.ParseExisting(cabundletest.CA(name, now.Add(-time.Hour), now.Add(1000*time.Hour)))
	}
	good := Entry{History: cabundle.History{}.Observe(now, cabundle.Reading{Bundle: ca("one"), Version: 3})}
	good.Published = good.Published.Next(good.History.Bundle(now), false)
	v := encode(good)
	f.Add("secret/ns/name", v.published, v.history)
	f.Add("apiserver", "", "")
	f.Add("secret/ns/a/b", " ", "{")
	f.Add("certificate/ns/name", v.published+" QQ== !", `{"observed":-1,"known":{"":{"last":-1,"retired":9223372036854775807,"distrust":-1}}}`)
	f.Add("secret/ns/name", "  ", `{"observed":9223372036854775807,"withdrawn":1,"known":{"x":{"notAfter":"9999-12-31T23:59:59Z","gone":"0001-01-01T00:00:00Z"}}}`)
	other := cabundle.Reading{Bundle: ca("two"), Version: 4}
	options, identity := Options{Namespace: "caject", Name: "caject"}, Identity{Cluster: "cluster"}
	f.Fuzz(func(t *testing.T, source, published, history string) {
		written := &shard{entries: map[string]values{source: {published: published, history: history}}}
		read := parse(written.render(&corev1.PodTemplate{}, options, identity), options, identity)
		_, isSource := cabundle.ParseReference(source)
		if _, there := read.entries[source]; there != isSource || read.wrong == isSource {
			t.Fatalf("%q is read: %v, and wrong: %v", source, there, read.wrong)
		}
		if !isSource {
			return
		}
		stored := entryOf([]holder{{name{role: named}, read.entries[source]}})
		known, _ := stored.History.Merge(cabundle.History{}.Observe(now, other)).Date(now).Trim(now, cabundle.MaxSourceBytes)
		known = cabundle.Rules{RetireAfter: time.Minute}.Observe(now, known, other)
		next := Entry{History: known, Published: stored.Published.Next(known.BundleAfter(now, nil), false)}
		read.set(source, encode(next))
		again := decode(parse(read.render(read.object, options, identity), options, identity).entries[source])
		if again.History.Adds(now, known) || known.Adds(now, again.History) {
			t.Errorf("stored: %+v, read: %+v", known, again.History)
		}
		if diff := cmp.Diff(next.Published, again.Published); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNames(t *testing.T) {
	tests := map[string]struct {
		want name
		ok   bool
	}{
		"caject-published-0":  {name{named, 0}, true},
		"caject-ahead-12":     {name{ahead, 12}, true},
		"caject-other-0":      {},
		"caject-published":    {},
		"caject-published-01": {},
		"caject-published-x":  {},
		"other-published-0":   {},
	}
	for object, test := range tests {
		n, ok := parseName("caject", object)
		if ok != test.ok || ok && n != test.want {
			t.Errorf("%s is read as %+v, %v", object, n, ok)
		}
	}
}
