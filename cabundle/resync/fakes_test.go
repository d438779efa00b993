package resync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	evanphx "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/publish"
)

// fakeSources answers with what it holds; cached answers can differ.
type fakeSources struct {
	mu       sync.Mutex
	readings map[cabundle.Reference]cabundle.Reading
	cached   map[cabundle.Reference]cabundle.Reading
	version  int64
	reads    map[cluster.Freshness]int
}

func newFakeSources() *fakeSources {
	return &fakeSources{
		readings: map[cabundle.Reference]cabundle.Reading{},
		cached:   map[cabundle.Reference]cabundle.Reading{},
		reads:    map[cluster.Freshness]int{},
	}
}

func (f *fakeSources) Read(_ context.Context, ref cabundle.Reference, freshness cluster.Freshness) cabundle.Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads[freshness]++
	if cached, ok := f.cached[ref]; ok && freshness == cluster.Cached {
		return cached
	}
	if reading, ok := f.readings[ref]; ok {
		return reading
	}
	return cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.SourceNotFound, Detail: ref.String() + " does not exist"}}
}

// set gives a source another CA, in PEM.
func (f *fakeSources) set(ref cabundle.Reference, ca []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.readings[ref] = cabundle.Reading{Bundle: cabundle.ParseExisting(ca), Version: f.version}
}

// fail has a source give nothing.
func (f *fakeSources) fail(ref cabundle.Reference, problem cabundle.Problem) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readings[ref] = cabundle.Reading{Problem: &problem}
}

// lag has cached answers about a source be those that it gives now.
func (f *fakeSources) lag(ref cabundle.Reference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cached[ref] = f.readings[ref]
}

func (f *fakeSources) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = map[cluster.Freshness]int{}
}

// all returns how many reads there were.
func (f *fakeSources) all() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads[cluster.Cached] + f.reads[cluster.Consistent]
}

// fakeTargets are the targets, as the API server has them: it counts generations, guards writes by the resourceVersion, and notes who
// owns a caBundle.
type fakeTargets struct {
	mu      sync.Mutex
	objects map[cabundle.Target]*unstructured.Unstructured
	cached  map[cabundle.Target]*unstructured.Unstructured
	version int

	getErr, patchErr, disownErr error
	// These, if set, happen just before a read, a write, and the removal of an owner.
	beforeGet, beforePatch, beforeDisown func()
	// webhook and policy, if set, are what the two do to an object that is admitted again: it holds what they return.
	webhook, policy func(cabundle.Target) []byte

	// slow is how long the webhook takes, and probeErr what a probe ends with.
	slow     time.Duration
	probeErr error

	reads                      map[cluster.Freshness]int
	probes                     []cabundle.Target
	patches, disowns, readmits int
}

func newFakeTargets() *fakeTargets {
	return &fakeTargets{
		objects: map[cabundle.Target]*unstructured.Unstructured{},
		cached:  map[cabundle.Target]*unstructured.Unstructured{},
		reads:   map[cluster.Freshness]int{},
	}
}

// caBundleOf is how managedFields says that somebody owns a caBundle, and nothing else, of an object of kind.
func caBundleOf(kind cabundle.Kind) *metav1.FieldsV1 {
	switch kind {
	case cabundle.CustomResourceDefinition:
		return metav1.NewFieldsV1(`{"f:spec":{"f:conversion":{"f:webhook":{"f:clientConfig":{"f:caBundle":{}}}}}}`)
	case cabundle.APIService:
		return metav1.NewFieldsV1(`{"f:spec":{"f:caBundle":{}}}`)
	}
	return metav1.NewFieldsV1(`{"f:webhooks":{"k:{\"name\":\"w0\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`)
}

// make makes a target of ref, anew if there is one; it holds caBundles, or one empty one.
func (f *fakeTargets) make(target cabundle.Target, ref cabundle.Reference, caBundles ...[]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetName(target.Name)
	o.SetUID(types.UID(fmt.Sprint("uid", f.version)))
	o.SetAnnotations(map[string]string{cabundle.InjectCAFromSecretAnnotation: ref.Namespace + "/" + ref.Name})
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "helm", FieldsV1: metav1.NewFieldsV1(`{"f:webhooks":{}}`)}})
	switch target.Kind {
	case cabundle.CustomResourceDefinition:
		o.Object["spec"] = map[string]any{"conversion": map[string]any{
			"strategy": "Webhook", "webhook": map[string]any{"clientConfig": map[string]any{}},
		}}
	case cabundle.APIService:
		o.Object["spec"] = map[string]any{"service": map[string]any{}}
	default:
		webhooks := []any{}
		for i := range max(1, len(caBundles)) {
			webhooks = append(webhooks, map[string]any{"name": fmt.Sprint("w", i), "clientConfig": map[string]any{}})
		}
		o.Object["webhooks"] = webhooks
	}
	f.objects[target] = o
	f.fill(target, func(i int) []byte {
		if i < len(caBundles) {
			return caBundles[i]
		}
		return nil
	})
	// That was one write.
	f.objects[target].SetResourceVersion(fmt.Sprint(f.version))
	if target.Kind != cabundle.APIService {
		f.objects[target].SetGeneration(1)
	}
}

// fill writes caBundles into the fields of target. The caller holds f.mu.
func (f *fakeTargets) fill(target cabundle.Target, caBundle func(int) []byte) {
	var patch []jsonpatch.Operation
	for i, field := range f.parse(target, f.objects[target]).Fields {
		if pem := caBundle(i); pem != nil {
			patch = append(patch, jsonpatch.NewOperation("add", field.Path, pem))
		}
	}
	if err := f.apply(target, patch); err != nil {
		panic(err)
	}
}

func (f *fakeTargets) parse(target cabundle.Target, o *unstructured.Unstructured) cabundle.Object {
	raw, err := json.Marshal(o.Object)
	if err != nil {
		panic(err)
	}
	object := cabundle.ParseObject(target.Kind, raw)
	object.Managers = cabundle.ParseManagers(target.Kind, raw)
	return object
}

// apply applies a JSON patch, as the API server does. The caller holds f.mu.
func (f *fakeTargets) apply(target cabundle.Target, patch []jsonpatch.Operation) error {
	before := f.objects[target]
	raw, err := json.Marshal(before.Object)
	if err != nil {
		return err
	}
	operations, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	decoded, err := evanphx.DecodePatch(operations)
	if err != nil {
		return err
	}
	if raw, err = decoded.Apply(raw); err != nil {
		return apierrors.NewInvalid(schema.GroupKind{}, target.Name, nil) // what it names is not there
	}
	after := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(raw, &after.Object); err != nil { // numbers stay whole
		return err
	}
	f.store(target, after)
	return nil
}

// store stores an object, if that changes anything. The caller holds f.mu.
func (f *fakeTargets) store(target cabundle.Target, after *unstructured.Unstructured) {
	before := f.objects[target]
	if equality.Semantic.DeepEqual(before.Object, after.Object) {
		return
	}
	f.version++
	after.SetResourceVersion(fmt.Sprint(f.version))
	if !equality.Semantic.DeepEqual(before.Object["webhooks"], after.Object["webhooks"]) ||
		!equality.Semantic.DeepEqual(before.Object["spec"], after.Object["spec"]) {
		if target.Kind != cabundle.APIService {
			after.SetGeneration(before.GetGeneration() + 1)
		}
	}
	f.objects[target] = after
}

// put is somebody else's write of a caBundle.
func (f *fakeTargets) put(target cabundle.Target, pem []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fill(target, func(int) []byte { return pem })
}

// edit is somebody else's write.
func (f *fakeTargets) edit(target cabundle.Target, change func(metav1.Object)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := f.objects[target].DeepCopy()
	change(after)
	f.store(target, after)
}

// annotate has a target ask for another source.
func (f *fakeTargets) annotate(target cabundle.Target, value string) {
	f.edit(target, func(o metav1.Object) {
		o.SetAnnotations(map[string]string{cabundle.InjectCAFromSecretAnnotation: value})
	})
}

// reconfigure changes something of a target that is none of caject's business.
func (f *fakeTargets) reconfigure(target cabundle.Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := f.objects[target].DeepCopy()
	if webhooks, ok := after.Object["webhooks"].([]any); ok {
		webhooks[0].(map[string]any)["timeoutSeconds"] = int64(f.version)
	} else {
		after.Object["spec"].(map[string]any)["extra"] = int64(f.version)
	}
	f.store(target, after)
}

// remove removes a target.
func (f *fakeTargets) remove(target cabundle.Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, target)
}

// lag has cached answers about a target be those that it gives now.
func (f *fakeTargets) lag(target cabundle.Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cached[target] = f.objects[target].DeepCopy()
}

// held returns the caBundles of a target, with bars between.
func (f *fakeTargets) held(target cabundle.Target) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, field := range f.parse(target, f.objects[target]).Fields {
		all = append(all, string(field.CABundle))
	}
	return strings.Join(all, "|")
}

// owners returns the field managers of a target.
func (f *fakeTargets) owners(target cabundle.Target) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, entry := range f.objects[target].GetManagedFields() {
		names = append(names, entry.Manager)
	}
	return names
}

func (f *fakeTargets) versions() map[cabundle.Target]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	versions := map[cabundle.Target]string{}
	for target, o := range f.objects {
		versions[target] = o.GetResourceVersion()
	}
	return versions
}

// metadata returns what a watch shows of a target.
func (f *fakeTargets) metadata(target cabundle.Target) (*metav1.PartialObjectMetadata, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.objects[target]
	if !ok {
		return nil, false
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(), Generation: o.GetGeneration(),
		Annotations: o.GetAnnotations(), DeletionTimestamp: o.GetDeletionTimestamp(),
	}}, true
}

// forget forgets what was counted.
func (f *fakeTargets) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads, f.patches, f.disowns, f.readmits = map[cluster.Freshness]int{}, 0, 0, 0
}

// all returns how many reads there were.
func (f *fakeTargets) all() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads[cluster.Cached] + f.reads[cluster.Consistent]
}

// writes returns how many requests there were that may write.
func (f *fakeTargets) writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.patches + f.disowns + f.readmits
}

func (f *fakeTargets) Get(_ context.Context, target cabundle.Target, freshness cluster.Freshness) (cabundle.Object, error) {
	if meanwhile := f.beforeGet; meanwhile != nil {
		meanwhile()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads[freshness]++
	o, ok := f.objects[target]
	if cached := f.cached[target]; cached != nil && freshness == cluster.Cached {
		o = cached
	}
	switch {
	case f.getErr != nil:
		return cabundle.Object{}, f.getErr
	case !ok:
		return cabundle.Object{}, apierrors.NewNotFound(schema.GroupResource{}, target.Name)
	}
	return f.parse(target, o), nil
}

// Patch writes, unless the object has changed since it was read. From then on caject owns a caBundle of it.
func (f *fakeTargets) Patch(_ context.Context, read cabundle.Object, patch []jsonpatch.Operation) (cabundle.Object, error) {
	if meanwhile := f.beforePatch; meanwhile != nil {
		f.beforePatch = nil
		meanwhile()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.patches++
	if f.patchErr != nil {
		return cabundle.Object{}, f.patchErr
	}
	object, err := f.guarded(read, patch)
	if err != nil {
		return object, err
	}
	o := f.objects[read.Target]
	entry := metav1.ManagedFieldsEntry{
		Manager: cluster.FieldManager, Time: &metav1.Time{Time: time.Now()}, FieldsV1: caBundleOf(read.Kind),
	}
	owns := func(e metav1.ManagedFieldsEntry) bool { return e.Manager == cluster.FieldManager }
	o.SetManagedFields(append(slices.DeleteFunc(o.GetManagedFields(), owns), entry))
	return f.parse(read.Target, o), nil
}

// guarded applies a patch to an object that is still as it was read. The caller holds f.mu.
func (f *fakeTargets) guarded(read cabundle.Object, patch []jsonpatch.Operation) (cabundle.Object, error) {
	o, ok := f.objects[read.Target]
	if !ok {
		return cabundle.Object{}, apierrors.NewNotFound(schema.GroupResource{}, read.Name)
	}
	changed := o.GetResourceVersion() != read.ResourceVersion
	before := o.DeepCopy()
	if err := f.apply(read.Target, patch); err != nil {
		return cabundle.Object{}, err // before the conflict is seen
	}
	if changed {
		f.objects[read.Target] = before
		return cabundle.Object{}, apierrors.NewConflict(schema.GroupResource{}, read.Name, errors.New("changed"))
	}
	return f.parse(read.Target, f.objects[read.Target]), nil
}

func (f *fakeTargets) Disown(_ context.Context, object cabundle.Object, injectors ...string) (cabundle.Object, error) {
	if meanwhile := f.beforeDisown; meanwhile != nil {
		meanwhile()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	patch := cabundle.Disown(object.Managers, injectors...)
	if len(patch) == 0 {
		return object, nil
	}
	f.disowns++
	if f.disownErr != nil {
		return cabundle.Object{}, f.disownErr
	}
	return f.guarded(object, patch)
}

func (f *fakeTargets) Readmit(ctx context.Context, target cabundle.Target, byPolicy bool) (cabundle.Object, error) {
	f.mu.Lock()
	f.readmits++
	slow := f.slow
	f.mu.Unlock()
	if slow > 0 && !byPolicy {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return cabundle.Object{}, fmt.Errorf("patch %s: %w", target, ctx.Err())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.objects[target]; !ok {
		return cabundle.Object{}, apierrors.NewNotFound(schema.GroupResource{}, target.Name)
	}
	admit := f.webhook
	if byPolicy {
		admit = f.policy
	}
	if admit != nil {
		f.fill(target, func(int) []byte { return admit(target) })
	}
	return f.parse(target, f.objects[target]), nil
}

// serve has the webhook fill in what pem holds, after a while; none is not called.
func (f *fakeTargets) serve(pem []byte, slow time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.webhook, f.slow = nil, slow
	if pem != nil {
		f.webhook = func(cabundle.Target) []byte { return pem }
	}
}

// probed returns with which targets it was asked whether the webhook is called.
func (f *fakeTargets) probed() []cabundle.Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.probes)
}

// Called reports that the webhook is called if there is one.
func (f *fakeTargets) Called(_ context.Context, target cabundle.Target) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probes = append(f.probes, target)
	return f.webhook != nil, f.probeErr
}

func (f *fakeTargets) Managers(_ context.Context, target cabundle.Target) ([]cabundle.Manager, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parse(target, f.objects[target]).Managers, nil
}

// fakePublisher publishes nothing. It notes what it is told, and has policies fill targets if it is told that they do.
type fakePublisher struct {
	mu      sync.Mutex
	told    map[cabundle.Reference]int
	policy  bool
	counted int // how often it was asked whether a policy fills a target
}

func (f *fakePublisher) Changed(ref cabundle.Reference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told == nil {
		f.told = map[cabundle.Reference]int{}
	}
	f.told[ref]++
}

// heard returns of which sources it was told, and forgets it.
func (f *fakePublisher) heard() []cabundle.Reference {
	f.mu.Lock()
	defer f.mu.Unlock()
	var refs []cabundle.Reference
	for ref := range f.told {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(a, b cabundle.Reference) int { return strings.Compare(a.String(), b.String()) })
	f.told = nil
	return refs
}

func (f *fakePublisher) Fills(context.Context, cabundle.Reference, cabundle.Object) bool {
	f.counted++
	return f.policy
}

func (f *fakePublisher) Fill(ctx context.Context, _ cabundle.Reference, _ cabundle.Kind, readmit publish.Readmit) (cabundle.Object, bool) {
	if !f.policy {
		return cabundle.Object{}, false
	}
	object, right, err := readmit(ctx)
	return object, right && err == nil
}
