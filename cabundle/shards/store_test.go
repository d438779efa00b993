package shards_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/cabundle/shards/shardstest"
)

var (
	start   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	options = shards.Options{Namespace: "caject", Name: "x-caject"}
)

func ref(name string) cabundle.Reference {
	return cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: name}
}

// entry is that of a source which holds a CA of the given name, at a version. Its bundle is followed by so many bytes of former values.
func entry(ca string, version int64, former int) shards.Entry {
	bundle := cabundle.ParseExisting(cabundletest.CA(ca, start.Add(-time.Hour), start.Add(time.Hour)))
	e := shards.Entry{History: cabundle.History{}.Observe(start, cabundle.Reading{Bundle: bundle, Version: version})}
	e.Published = cabundle.Published{CABundle: base64.StdEncoding.EncodeToString(bundle.PEM())}
	if former > 0 {
		e.Published.Replaces = []string{strings.Repeat("A", former)}
	}
	return e
}

// replica is a Store with what is around it.
type replica struct {
	*shards.Store
	t       *testing.T
	api     *shardstest.API
	clock   *clocktesting.FakeClock
	mu      sync.Mutex
	changed []string
}

func newReplica(t *testing.T, api *shardstest.API) *replica {
	t.Helper()
	r := &replica{t: t, api: api, clock: clocktesting.NewFakeClock(start)}
	r.Store = shards.New(options, api, r.clock, func(ref cabundle.Reference) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed = append(r.changed, ref.Name)
	})
	for _, object := range api.All() {
		r.Seen(object, true)
	}
	go func() { _ = r.Start(t.Context()) }()
	for !r.Synced() {
		time.Sleep(time.Millisecond)
	}
	return r
}

func (r *replica) get(name string) shards.Entry {
	r.t.Helper()
	e, err := r.Get(ref(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// put stores what is to be stored of a source, whatever is there.
func (r *replica) put(name string, wanted shards.Entry) shards.Entry {
	r.t.Helper()
	e, err := r.Put(r.t.Context(), ref(name), r.get(name), wanted)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *replica) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.changed
	r.changed = nil
	return told
}

// layout returns which sources are in which shard.
func layout(api *shardstest.API) map[string]string {
	all := map[string]string{}
	for _, object := range api.All() {
		for source := range object.Template.Spec.Volumes[0].CSI.VolumeAttributes {
			all[source] += strings.TrimPrefix(object.Name, "x-caject-") + " "
		}
	}
	return all
}

func TestAnEntryComesBackAsItWasStored(t *testing.T) {
	api := shardstest.New("cluster")
	r := newReplica(t, api)
	wanted := entry("one", 7, 0)
	wanted.Published.Replaces = []string{"QQ==", "Qg=="}
	r.put("a", wanted)
	again := newReplica(t, api).get("a")
	if diff := cmp.Diff(wanted.Published, again.Published); diff != "" {
		t.Error(diff)
	}
	if again.History.Adds(start, wanted.History) || wanted.History.Adds(start, again.History) || !again.Named() || !again.Stored() || again.Untidy() {
		t.Errorf("%+v", again)
	}
	object := api.All()[0]
	if object.Name != "x-caject-published-0" || object.Labels[shards.Label] != "x-caject" || object.Annotations["caject.io/cluster"] != "cluster" {
		t.Errorf("%+v", object.ObjectMeta)
	}
	want := map[string]string{"secret/ns/a": wanted.Published.CABundle + " QQ== Qg=="} // what the policies expect
	if diff := cmp.Diff(want, object.Template.Spec.Volumes[0].CSI.VolumeAttributes); diff != "" {
		t.Error(diff)
	}
	wanted.Problem = "it is missing"
	r.put("a", wanted)
	if object := api.All()[0]; newReplica(t, api).get("a").Problem != "it is missing" || object.Labels["caject.io/not-ready"] != "true" {
		t.Errorf("what is wrong is lost: %+v", object.Labels)
	}
	wanted.Problem = ""
	if r.put("a", wanted); api.All()[0].Labels["caject.io/not-ready"] != "" {
		t.Error("it is still labelled")
	}
	writes := api.Writes()
	if r.put("a", wanted); api.Writes() != writes {
		t.Error("what is right was written")
	}
	if told := r.told(); len(told) > 0 {
		t.Errorf("it was told of its own write: %v", told)
	}
}

func TestSourcesFindRoom(t *testing.T) {
	api := shardstest.New("cluster")
	r := newReplica(t, api)
	for n := range 5 {
		r.put(fmt.Sprint("s", n), entry("one", 1, 60_000))
	}
	want := map[string]string{
		"secret/ns/s0": "published-0 ", "secret/ns/s1": "published-0 ", "secret/ns/s2": "published-0 ",
		"secret/ns/s3": "published-1 ", "secret/ns/s4": "published-1 ",
	}
	if diff := cmp.Diff(want, layout(api)); diff != "" {
		t.Fatal("each goes to the first with room:", diff)
	}
	r.put("s0", entry("one", 2, 200_000))
	r.put("s1", entry("one", 2, 200_000))
	if diff := cmp.Diff(want, layout(api)); diff != "" {
		t.Fatal("what grows stays where it is:", diff)
	}
	large := entry("one", 2, 200_000)
	grown := r.put("s2", large)
	want["secret/ns/s2"] = "published-0 published-2 "
	if diff := cmp.Diff(want, layout(api)); diff != "" || !grown.Untidy() {
		t.Fatal("unless there is no room for that; then it is in both for a moment:", diff)
	}
	if r.put("s2", large); !r.get("s2").Untidy() {
		t.Error("it was removed before each API server can have learned of the new one")
	}
	r.clock.Step(time.Second)
	r.put("s2", large)
	want["secret/ns/s2"] = "published-2 "
	if diff := cmp.Diff(want, layout(api)); diff != "" || r.get("s2").Untidy() {
		t.Fatal("and then in one:", diff)
	}
	if err := r.Remove(t.Context(), ref("s2"), r.get("s2")); err != nil {
		t.Fatal(err)
	}
	if delete(want, "secret/ns/s2"); len(api.All()) != 2 {
		t.Errorf("an empty shard stays: %v", layout(api))
	}
	if diff := cmp.Diff(want, layout(api)); diff != "" {
		t.Error(diff)
	}
}

func TestManyAtOnceAreFewWrites(t *testing.T) {
	api := shardstest.New("cluster")
	r := newReplica(t, api)
	slow, wanted := make(chan struct{}), entry("one", 1, 0)
	api.BeforeWrite(func() { <-slow })
	var putting sync.WaitGroup
	for n := range 100 {
		putting.Go(func() { r.put(fmt.Sprint("s", n), wanted) })
	}
	time.Sleep(50 * time.Millisecond)
	close(slow)
	putting.Wait()
	if writes := api.Writes(); writes > 3 {
		t.Errorf("100 sources took %d writes", writes)
	}
	if len(layout(api)) != 100 {
		t.Errorf("%d are stored", len(layout(api)))
	}
}

func TestWhatOthersHaveStored(t *testing.T) {
	api := shardstest.New("cluster")
	one, two := newReplica(t, api), newReplica(t, api)
	one.put("a", entry("one", 1, 0))
	// two has not seen it, and finds another entry in its way, and then the same one.
	two.put("b", entry("two", 1, 0))
	if told := two.told(); !cmp.Equal(told, []string{"a"}) {
		t.Errorf("it was told of %v", told)
	}
	before := one.get("a")
	two.put("a", entry("three", 2, 0))
	_, err := one.Put(t.Context(), ref("a"), before, entry("four", 2, 0))
	if !apierrors.IsConflict(err) {
		t.Errorf("the error is %v", err)
	}
	if got := one.get("a"); got.History.Observed != 2 {
		t.Errorf("it has not learned of it: %+v", got)
	}
	one.put("a", entry("four", 3, 0))
	if err := two.Remove(t.Context(), ref("a"), before); !apierrors.IsConflict(err) {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff(map[string]string{"secret/ns/a": "published-0 ", "secret/ns/b": "published-0 "}, layout(api)); diff != "" {
		t.Error(diff)
	}
}

func TestAShardThatIsNotOurs(t *testing.T) {
	tests := map[string]struct {
		edit func(*corev1.PodTemplate)
		kept bool
	}{
		"it is out of another cluster's backup":  {func(o *corev1.PodTemplate) { o.Annotations["caject.io/cluster"] = "other" }, false},
		"somebody has taken its annotation away": {func(o *corev1.PodTemplate) { o.Annotations = nil }, false},
		"its volumes are gone":                   {func(o *corev1.PodTemplate) { o.Template.Spec.Volumes = nil }, false},
		"it holds what is no source": {func(o *corev1.PodTemplate) {
			o.Template.Spec.Volumes[0].CSI.VolumeAttributes["configmap/a/b"] = "QQ=="
		}, true},
		"it has a volume too many": {func(o *corev1.PodTemplate) {
			o.Template.Spec.Volumes = append(o.Template.Spec.Volumes, corev1.Volume{Name: "more"})
		}, true},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			api := shardstest.New("cluster")
			newReplica(t, api).put("a", entry("one", 1, 0))
			api.Edit("x-caject-published-0", test.edit)
			r := newReplica(t, api)
			if kept := r.get("a").Stored(); kept != test.kept {
				t.Errorf("kept: %v", kept)
			}
			r.put("b", entry("two", 1, 0))
			want := map[string]string{"secret/ns/b": "published-0 "}
			if test.kept {
				want["secret/ns/a"] = "published-0 "
			}
			if diff := cmp.Diff(want, layout(api)); diff != "" || len(api.All()[0].Template.Spec.Volumes) != 3 {
				t.Error(diff)
			}
			if r = newReplica(t, api); !r.get("b").Stored() {
				t.Error("it is not ours by then")
			}
		})
	}
}

func TestAForeignShardIsRemovedEvenIfNothingIsStored(t *testing.T) {
	api := shardstest.New("other")
	newReplica(t, api).put("a", entry("one", 1, 0))
	r := newReplica(t, shardstest.New("cluster"))
	r.Store = shards.New(options, &moved{api}, r.clock, func(cabundle.Reference) { t.Error("it is told of") })
	for _, object := range api.All() {
		r.Seen(object, true)
	}
	go func() { _ = r.Start(t.Context()) }()
	for len(api.All()) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// moved is an API in another cluster.
type moved struct{ *shardstest.API }

func (*moved) Identity(context.Context) (shards.Identity, error) {
	return shards.Identity{Cluster: "cluster", Owner: &metav1.OwnerReference{Name: "caject"}}, nil
}

func TestSourcesThatNobodyNamesAreBounded(t *testing.T) {
	api := shardstest.New("cluster")
	r := newReplica(t, api)
	ahead := func(namespace string, n, size int) error {
		source := cabundle.Reference{Kind: cabundle.Secret, Namespace: namespace, Name: fmt.Sprint("s", n)}
		_, err := r.PutAhead(t.Context(), source, shards.Entry{}, entry("one", int64(n), size))
		return err
	}
	if err := ahead("ns", 0, 8<<10); !errors.Is(err, shards.ErrTooLarge) {
		t.Errorf("a large one: %v", err)
	}
	r.put("named", entry("one", 1, 100_000))
	for n := range 20 {
		if err := ahead("ns", n, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := layout(api)["secret/ns/s3"]; ok || layout(api)["secret/ns/s4"] != "ahead-0 " || len(layout(api)) != 17 {
		t.Errorf("of one namespace there are %v", layout(api))
	}
	for n := range 200 {
		if err := ahead(fmt.Sprint("ns", n), 100+n, 5_000); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, object := range api.All() {
		for source, values := range object.Template.Spec.Volumes[0].CSI.VolumeAttributes {
			if strings.Contains(object.Name, "ahead") {
				total += len(source) + len(values)
			}
		}
	}
	kept := layout(api)
	if total > 512<<10 || kept["secret/ns199/s299"] == "" || kept["secret/ns0/s100"] != "" || kept["secret/ns/named"] != "published-0 " {
		t.Errorf("%d bytes, %v", total, kept)
	}
	if got := len(r.Ahead()); got != len(kept)-1 {
		t.Errorf("it says that there are %d", got)
	}
}

// TestManyThatLoseTheirTargetsComeToRest has more sources of one namespace lose their targets than are kept, each looked at once a second
// but none at the same time.
func TestManyThatLoseTheirTargetsComeToRest(t *testing.T) {
	const sources, rounds = 64, 6
	api := shardstest.New("cluster")
	r := newReplica(t, api)
	for n := range sources {
		r.put(fmt.Sprint("s", n), entry("one", int64(n), 0))
	}
	before := 0
	for range rounds {
		before = api.Writes()
		for n := range sources {
			r.clock.Step(1100 * time.Millisecond / sources)
			source := ref(fmt.Sprint("s", n))
			if stored := r.get(source.Name); stored.Named() {
				wanted := stored
				wanted.Published.Replaces = nil
				if _, err := r.PutAhead(t.Context(), source, stored, wanted); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if writes := api.Writes() - before; writes > 0 {
		t.Errorf("%d writes in round %d", writes, rounds)
	}
	want := map[string]string{}
	for n := sources - 16; n < sources; n++ {
		want[fmt.Sprint("secret/ns/s", n)] = "ahead-0 "
	}
	if diff := cmp.Diff(want, layout(api)); diff != "" {
		t.Error("those seen last are kept:", diff)
	}
}

func TestErrorsAreThoseOfTheAPIServer(t *testing.T) {
	api := shardstest.New("cluster")
	r := newReplica(t, api)
	refused := apierrors.NewForbidden(corev1.Resource("podtemplates"), "", errors.New("no"))
	api.Fail(refused)
	if _, err := r.Put(t.Context(), ref("a"), shards.Entry{}, entry("one", 1, 0)); !errors.Is(err, refused) {
		t.Errorf("the error is %v", err)
	}
	api.Fail(nil)
	api.BeforeWrite(func() { api.Edit("x-caject-published-0", func(*corev1.PodTemplate) {}) })
	if _, err := r.Put(t.Context(), ref("a"), shards.Entry{}, entry("one", 1, 0)); !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		t.Errorf("others in the way for ever: %v", err)
	}
}

func TestNothingIsKnownBeforeItIs(t *testing.T) {
	api := shardstest.New("cluster")
	api.Fail(errors.New("no answer"))
	r := shards.New(options, api, clocktesting.NewFakeClock(start), func(cabundle.Reference) {})
	go func() { _ = r.Start(t.Context()) }()
	if _, err := r.Get(ref("a")); !errors.Is(err, shards.ErrNotSynced) {
		t.Errorf("Get: %v", err)
	}
	if _, err := r.Put(t.Context(), ref("a"), shards.Entry{}, entry("one", 1, 0)); !errors.Is(err, shards.ErrNotSynced) {
		t.Errorf("Put: %v", err)
	}
	api.Fail(nil)
	for !r.Synced() { // it asks again
		time.Sleep(time.Millisecond)
	}
}
