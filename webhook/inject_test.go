package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

// fakeSource answers with what it holds.
type fakeSource struct {
	ca      []byte
	leftOut []string
	problem *cabundle.Problem
	panics  bool
	blocks  bool // until the context ends

	asked []cabundle.Reference
}

func (f *fakeSource) Read(ctx context.Context, ref cabundle.Reference, freshness cluster.Freshness) cabundle.Reading {
	f.asked = append(f.asked, ref)
	switch {
	case f.panics:
		panic("a bug")
	case f.blocks:
		<-ctx.Done()
		return cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "could not be read in time"}}
	case freshness != cluster.Consistent:
		return cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.InternalError, Detail: "admission made a cached read"}}
	case f.problem != nil:
		return cabundle.Reading{Problem: f.problem}
	}
	return cabundle.Reading{Bundle: cabundle.ParseExisting(f.ca), LeftOut: f.leftOut}
}

// fakeLedger knows the history of no source, or of every source the same.
type fakeLedger struct {
	problem *cabundle.Problem // what each usable reading is judged to be; nil if it may be used
	combine cabundle.Combine  // nil means cabundle.Merge
}

func (f fakeLedger) Weigh(_ cabundle.Reference, _ map[string]string, reading cabundle.Reading) (cabundle.Reading, cabundle.Combine) {
	if reading.Problem == nil && f.problem != nil {
		reading = cabundle.Reading{Problem: f.problem}
	}
	if f.combine == nil {
		return reading, cabundle.Merge
	}
	return reading, f.combine
}

func newInjector(s sourceReader) (*Injector, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	return NewInjector(cabundle.Kinds(), fakeLedger{}, s, metrics.New(registry), clock.RealClock{}), registry
}

var (
	oldCA = cabundletest.CA("old", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	newCA = cabundletest.CA("new", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
)

var annotated = map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name"}

func crd(annotations map[string]string, caBundle []byte) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "crd", Annotations: maps.Clone(annotations)},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{Conversion: &apiextensionsv1.CustomResourceConversion{
			Strategy: apiextensionsv1.WebhookConverter,
			Webhook: &apiextensionsv1.WebhookConversion{
				ClientConfig: &apiextensionsv1.WebhookClientConfig{CABundle: caBundle},
			},
		}},
	}
}

// request is what the API server sends for object, and for old on an update.
func request(t testing.TB, kind cabundle.Kind, object, old any) admission.Request {
	t.Helper()
	gvk := kind.GroupVersionKind()
	r := admissionv1.AdmissionRequest{
		UID:       "a-uid",
		Kind:      metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
		Name:      "crd",
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Raw: encode(t, object)},
	}
	if old != nil {
		r.Operation, r.OldObject = admissionv1.Update, runtime.RawExtension{Raw: encode(t, old)}
	}
	return admission.Request{AdmissionRequest: r}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func fill(caBundle ...[]byte) []jsonpatch.Operation {
	var all []byte
	for _, part := range caBundle {
		all = append(all, part...)
	}
	return []jsonpatch.Operation{
		jsonpatch.NewOperation("add", "/spec/conversion/webhook/clientConfig/caBundle", base64.StdEncoding.EncodeToString(all)),
	}
}

func TestInjector(t *testing.T) {
	good := &fakeSource{ca: newCA}
	missing := &fakeSource{problem: &cabundle.Problem{Reason: cabundle.SourceNotFound, Detail: "Secret ns/name does not exist", Remedy: "create it"}}
	none := crd(annotated, nil)
	none.Spec.Conversion.Strategy = apiextensionsv1.NoneConverter
	deleting := crd(annotated, nil)
	deleting.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	malformed := map[string]string{cabundle.InjectCAFromAnnotation: "name"}

	tests := map[string]struct {
		source  *fakeSource
		object  any
		old     any
		patch   []jsonpatch.Operation
		warning []string // its parts
	}{
		"a created object is filled":                          {good, crd(annotated, nil), nil, fill(newCA), nil},
		"a placeholder is replaced":                           {good, crd(annotated, []byte("\n")), nil, fill(newCA), nil},
		"what is there is merged":                             {good, crd(annotated, oldCA), nil, fill(oldCA, newCA), nil},
		"what is right is left alone":                         {good, crd(annotated, newCA), nil, nil, nil},
		"an update to a placeholder gets what was there":      {good, crd(annotated, []byte("\n")), crd(annotated, oldCA), fill(oldCA, newCA), nil},
		"an object without annotation is left alone":          {good, crd(nil, nil), nil, nil, nil},
		"an object being deleted is left alone":               {good, deleting, deleting, nil, nil},
		"without source: warned":                              {missing, crd(annotated, nil), nil, nil, []string{"Secret ns/name does not exist", "create it", "keeps trying"}},
		"without source: what was there is kept":              {missing, crd(annotated, []byte("\n")), crd(annotated, oldCA), fill(oldCA), []string{"Secret ns/name does not exist"}},
		"a malformed annotation: warned":                      {good, crd(malformed, nil), nil, nil, []string{"has no slash", "namespace/name", "until it changes"}},
		"a malformed annotation: what was there is kept":      {good, crd(malformed, []byte("\n")), crd(malformed, oldCA), fill(oldCA), []string{"has no slash"}},
		"a CRD without conversion webhook: nothing to say":    {good, none, nil, nil, nil},
		"nor if there is no source":                           {missing, none, nil, nil, nil},
		"what is left out of the source: warned":              {&fakeSource{ca: newCA, leftOut: []string{"certificate 2 of 2: malformed"}}, crd(annotated, nil), nil, fill(newCA), []string{"left out of the bundle", "certificate 2 of 2: malformed", "issued anew"}},
		"a misspelt annotation: warned":                       {good, crd(map[string]string{"certmanager.k8s.io/inject-ca-from": "ns/name"}, nil), nil, nil, []string{"certmanager.k8s.io/inject-ca-from is not followed", cabundle.InjectCAFromAnnotation}},
		"a panic: warned":                                     {&fakeSource{panics: true}, crd(annotated, nil), nil, nil, []string{"caject failed", "keeps trying"}},
		"a bug in reading the source: what was there is kept": {&fakeSource{problem: cabundle.Panicked(cabundle.Reference{})}, crd(annotated, []byte("\n")), crd(annotated, oldCA), fill(oldCA), []string{"caject failed"}},
		"a panic: what is there stays":                        {&fakeSource{panics: true}, crd(annotated, oldCA), crd(annotated, oldCA), nil, []string{"caject failed"}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			injector, _ := newInjector(test.source)
			got := injector.Handle(t.Context(), request(t, cabundle.CustomResourceDefinition, test.object, test.old))
			if !got.Allowed {
				t.Error("denied")
			}
			if diff := cmp.Diff(test.patch, got.Patches); diff != "" {
				t.Error(diff)
			}
			checkWarning(t, got.Warnings, test.warning)
		})
	}
}

func checkWarning(t *testing.T, got, parts []string) {
	t.Helper()
	if len(parts) == 0 {
		if len(got) > 0 {
			t.Errorf("warned: %q", got)
		}
		return
	}
	if len(got) != 1 || !strings.HasPrefix(got[0], "caject: ") {
		t.Fatalf("warnings are %q", got)
	}
	for _, part := range parts {
		if !strings.Contains(got[0], part) {
			t.Errorf("warning %q lacks %q", got[0], part)
		}
	}
}

func TestInjectorAnswersForWebhookConfigurationsToo(t *testing.T) {
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "c", Annotations: annotated}}
	var want []jsonpatch.Operation
	for i := range 3 {
		configuration.Webhooks = append(configuration.Webhooks, admissionregistrationv1.MutatingWebhook{Name: fmt.Sprint(i)})
		want = append(want, jsonpatch.NewOperation("add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), base64.StdEncoding.EncodeToString(newCA)))
	}
	injector, registry := newInjector(&fakeSource{ca: newCA})
	got := injector.Handle(t.Context(), request(t, cabundle.MutatingWebhookConfiguration, configuration, nil))
	if diff := cmp.Diff(want, got.Patches); diff != "" || !got.Allowed {
		t.Error(diff)
	}
	expectMetrics(t, registry, "caject_injections_total", `
# HELP caject_injections_total Objects whose caBundle was filled or changed, by path and kind.
# TYPE caject_injections_total counter
caject_injections_total{kind="MutatingWebhookConfiguration",path="admission"} 1
`)
}

// TestInjectorFollowsTheLedger is about what is known of a source beyond the reading of the moment.
func TestInjectorFollowsTheLedger(t *testing.T) {
	without := func(certificate []byte) cabundle.Combine {
		return func(now time.Time, existing, source cabundle.Bundle) cabundle.Bundle {
			if existing.Digest() == cabundle.ParseExisting(certificate).Digest() {
				existing = cabundle.Bundle{}
			}
			return cabundle.Merge(now, existing, source)
		}
	}
	distrusted := &cabundle.Problem{Reason: cabundle.SourceDistrusted, Detail: "every certificate of the source is distrusted"}
	for sentence, test := range map[string]struct {
		ledger  fakeLedger
		held    []byte
		patch   []jsonpatch.Operation
		warning []string
	}{
		"what is retired leaves the object":               {fakeLedger{combine: without(oldCA)}, oldCA, fill(newCA), nil},
		"what is not retired stays":                       {fakeLedger{combine: without(newCA)}, oldCA, fill(oldCA, newCA), nil},
		"a distrusted source: warned":                     {fakeLedger{problem: distrusted}, nil, nil, []string{"is distrusted"}},
		"a distrusted source: what the object held stays": {fakeLedger{problem: distrusted}, oldCA, nil, []string{"is distrusted"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			injector := NewInjector(cabundle.Kinds(), test.ledger, &fakeSource{ca: newCA}, metrics.New(prometheus.NewRegistry()), clock.RealClock{})
			got := injector.Handle(t.Context(), request(t, cabundle.CustomResourceDefinition, crd(annotated, test.held), nil))
			if diff := cmp.Diff(test.patch, got.Patches); diff != "" || !got.Allowed {
				t.Error(diff)
			}
			checkWarning(t, got.Warnings, test.warning)
		})
	}
}

func TestInjectorLeavesKindsAloneThatAreSwitchedOff(t *testing.T) {
	s := &fakeSource{ca: newCA}
	injector := NewInjector([]cabundle.Kind{cabundle.APIService}, fakeLedger{}, s, metrics.New(prometheus.NewRegistry()), clock.RealClock{})
	got := injector.Handle(t.Context(), request(t, cabundle.CustomResourceDefinition, crd(annotated, nil), nil))
	if !got.Allowed || len(got.Patches) > 0 || len(got.Warnings) > 0 || len(s.asked) > 0 {
		t.Errorf("allowed %v, patches %v, warnings %v, sources read %v", got.Allowed, got.Patches, got.Warnings, s.asked)
	}
}

func TestInjectorCountsRefusals(t *testing.T) {
	injector, registry := newInjector(&fakeSource{panics: true})
	for range 2 {
		injector.Handle(t.Context(), request(t, cabundle.CustomResourceDefinition, crd(annotated, nil), nil))
	}
	expectMetrics(t, registry, "caject_refusals_total", `
# HELP caject_refusals_total Attempts that left an annotated object as it was, by path and reason.
# TYPE caject_refusals_total counter
caject_refusals_total{path="admission",reason="InternalError"} 2
`)
}

func expectMetrics(t *testing.T, registry *prometheus.Registry, name, want string) {
	t.Helper()
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}

func TestInjectorLeavesAloneWhatItWasNotMadeFor(t *testing.T) {
	tests := map[string]func(*admission.Request){
		"another kind":             func(r *admission.Request) { r.Kind = metav1.GroupVersionKind{Version: "v1", Kind: "Pod"} },
		"our kind, another group":  func(r *admission.Request) { r.Kind.Group = "example.com" },
		"a subresource":            func(r *admission.Request) { r.SubResource = "status" },
		"a deletion":               func(r *admission.Request) { r.Operation = admissionv1.Delete },
		"no object":                func(r *admission.Request) { r.Object.Raw = nil },
		"an object that is a list": func(r *admission.Request) { r.Object.Raw = []byte("[]") },
	}
	for sentence, change := range tests {
		t.Run(sentence, func(t *testing.T) {
			s := &fakeSource{ca: newCA}
			injector, _ := newInjector(s)
			r := request(t, cabundle.CustomResourceDefinition, crd(annotated, nil), nil)
			change(&r)
			got := injector.Handle(t.Context(), r)
			if !got.Allowed || len(got.Patches) > 0 || len(got.Warnings) > 0 || len(s.asked) > 0 {
				t.Errorf("allowed %v, patches %v, warnings %v, sources read %v", got.Allowed, got.Patches, got.Warnings, s.asked)
			}
		})
	}
}

func TestInjectorGivesUpReadingInTime(t *testing.T) {
	injector, _ := newInjector(&fakeSource{blocks: true})
	start := time.Now()
	got := injector.Handle(t.Context(), request(t, cabundle.CustomResourceDefinition, crd(annotated, nil), nil))
	if !got.Allowed || len(got.Warnings) != 1 {
		t.Errorf("allowed %v, warnings %v", got.Allowed, got.Warnings)
	}
	if took := time.Since(start); took > 10*sourceTimeout {
		t.Errorf("it took %v", took)
	}
}

// slowSource answers once it is told to, and knows how many reads have gone on at the same time.
type slowSource struct {
	answer       chan struct{}
	current, all atomic.Int64
	most         atomic.Int64
}

func (s *slowSource) Read(ctx context.Context, _ cabundle.Reference, _ cluster.Freshness) cabundle.Reading {
	s.all.Add(1)
	if now := s.current.Add(1); now > s.most.Load() {
		s.most.Store(now)
	}
	defer s.current.Add(-1)
	select {
	case <-s.answer:
		return cabundle.Reading{Bundle: cabundle.ParseExisting(newCA)}
	case <-ctx.Done():
		return cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "could not be read in time"}}
	}
}

// TestInjectorReadsABoundedNumberOfSources has more requests come at the same time than there is room for.
func TestInjectorReadsABoundedNumberOfSources(t *testing.T) {
	const requests = 3 * maxSourceReads
	for sentence, test := range map[string]struct {
		deadline time.Duration // of each request
		answered time.Duration // when the API server does
		filled   bool
		within   time.Duration // they are all answered
	}{
		"the API server is a little slow":         {time.Minute, sourceTimeout / 2, true, sourceTimeout / 2},
		"the API server is silent":                {time.Minute, time.Hour, false, sourceTimeout},
		"the same, and the request is in a hurry": {sourceTimeout / 4, time.Hour, false, sourceTimeout / 4},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowSource{answer: make(chan struct{})}
				injector, registry := newInjector(s)
				began := time.Now()
				answer := time.AfterFunc(test.answered, func() { close(s.answer) })
				defer answer.Stop()
				var working sync.WaitGroup
				var filled, crowded atomic.Int64
				for range requests {
					working.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
						defer cancel()
						got := injector.Handle(ctx, request(t, cabundle.CustomResourceDefinition, crd(annotated, nil), nil))
						if !got.Allowed {
							t.Error("denied")
						}
						filled.Add(int64(len(got.Patches)))
						if strings.Contains(fmt.Sprint(got.Warnings), "could not be read in time: caject reads too many") {
							crowded.Add(1)
						}
					})
				}
				working.Wait()
				if took := time.Since(began); took != test.within {
					t.Errorf("it took %s", took)
				}
				if most := s.most.Load(); most != maxSourceReads {
					t.Errorf("%d sources were read at the same time", most)
				}
				if test.filled {
					if filled.Load() != requests || s.all.Load() != requests {
						t.Errorf("%d are filled, after %d reads", filled.Load(), s.all.Load())
					}
					return
				}
				if filled.Load() > 0 || crowded.Load() == 0 || crowded.Load()+s.all.Load() != requests {
					t.Errorf("%d are filled; %d reads, %d did not come to one", filled.Load(), s.all.Load(), crowded.Load())
				}
				expectMetrics(t, registry, "caject_refusals_total", fmt.Sprintf(`
# HELP caject_refusals_total Attempts that left an annotated object as it was, by path and reason.
# TYPE caject_refusals_total counter
caject_refusals_total{path="admission",reason="SourceUnavailable"} %d
`, requests))
			})
		})
	}
}

// bigCRD is a CRD of about 100 KB.
func bigCRD() *apiextensionsv1.CustomResourceDefinition {
	object := crd(annotated, nil)
	object.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{Schema: &apiextensionsv1.CustomResourceValidation{
		OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}},
	}}}
	for i := range 500 {
		object.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties[fmt.Sprintf("field%d", i)] = apiextensionsv1.JSONSchemaProps{
			Type: "string", Description: strings.Repeat("what this field is for, ", 7),
		}
	}
	return object
}

// BenchmarkInjector measures the handler with the source in hand.
func BenchmarkInjector(b *testing.B) {
	object := bigCRD()
	injector, _ := newInjector(&fakeSource{ca: newCA})
	for sentence, r := range map[string]admission.Request{
		"create": request(b, cabundle.CustomResourceDefinition, object, nil),
		"update": request(b, cabundle.CustomResourceDefinition, object, object),
	} {
		b.Run(sentence, func(b *testing.B) {
			b.SetBytes(int64(len(r.Object.Raw)))
			for b.Loop() {
				if got := injector.Handle(b.Context(), r); len(got.Patches) != 1 {
					b.Fatal(got)
				}
			}
		})
	}
}

// TestInjectorAnswersAProbe is about a dry run by which caject asks whether it is called.
func TestInjectorAnswersAProbe(t *testing.T) {
	for sentence, test := range map[string]struct {
		options string
		dryRun  bool
		answers bool
	}{
		"a probe":                            {`{"fieldManager":"caject-probe","dryRun":["All"]}`, true, true},
		"somebody else's dry run":            {`{"fieldManager":"kubectl","dryRun":["All"]}`, true, false},
		"somebody writes as the probe does":  {`{"fieldManager":"caject-probe"}`, false, false},
		"a request without options":          {``, true, false},
		"options that are no JSON":           {`{"fieldManager":`, true, false},
		"an object that caject admits again": {`{"fieldManager":"caject"}`, false, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			source := &fakeSource{ca: newCA}
			injector, _ := newInjector(source)
			r := request(t, cabundle.CustomResourceDefinition, crd(annotated, nil), nil)
			r.Options.Raw, r.DryRun = []byte(test.options), &test.dryRun
			response := injector.Handle(t.Context(), r)
			answers := slices.Contains(response.Warnings, cabundle.ProbeAnswer)
			if !response.Allowed || answers != test.answers || (len(source.asked) == 0) != test.answers || (len(response.Patches) == 0) != test.answers {
				t.Errorf("answered %+v, after reading %v", response, source.asked)
			}
		})
	}
}
