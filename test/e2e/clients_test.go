package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// styles are the ways in which a manifest leaves the caBundle to others; nil has none.
func styles() map[string]*string {
	empty, placeholder := "", "Cg=="
	return map[string]*string{"absent": nil, "empty": &empty, "placeholder": &placeholder}
}

// manifestsOf is what somebody has under version control: an object of each kind, with or without a caBundle of its own, and
// a label that says which version this is.
func manifestsOf(t *testing.T, name, version string, caBundle *string) (string, []client.Object) {
	t.Helper()
	var text strings.Builder
	var objects []client.Object
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		object := kinds[kind](name+strings.ToLower(string(kind)), playground.FromSecret(namespace, name))
		object.GetObjectKind().SetGroupVersionKind(kind.GroupVersionKind())
		object.SetLabels(map[string]string{"version": version})
		objects = append(objects, object)
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
			putCABundle(kind, fields, *caBundle)
		}
		encoded, err := yaml.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "---\n%s", encoded)
	}
	return text.String(), objects
}

// putCABundle puts value, base64 or not, into each caBundle of a manifest.
func putCABundle(kind cabundle.Kind, fields map[string]any, value string) {
	put := func(clientConfig any) { clientConfig.(map[string]any)["caBundle"] = value }
	switch kind {
	case cabundle.APIService:
		put(fields["spec"])
	case cabundle.CustomResourceDefinition:
		conversion := fields["spec"].(map[string]any)["conversion"].(map[string]any)
		put(conversion["webhook"].(map[string]any)["clientConfig"])
	default:
		for _, webhook := range fields["webhooks"].([]any) {
			put(webhook.(map[string]any)["clientConfig"])
		}
	}
}

// TestWhoAppliesAgainHasNoConflict applies, lets caject inject and rotate, and applies again, with each tool and each way to
// leave the caBundle to others. What was good is so all the time, and in the end all stand still.
func TestWhoAppliesAgainHasNoConflict(t *testing.T) {
	t.Parallel()
	n := 0
	for sentence, tool := range tools(t) {
		for style, caBundle := range styles() {
			n++
			name := fmt.Sprintf("client%c%c", 'a'+n/26, 'a'+n%26)
			t.Run(sentence+", caBundle "+style, func(t *testing.T) {
				t.Parallel()
				newStory(t, tool, name, caBundle).play(t)
			})
		}
	}
}

// story is what becomes of the objects of one manifest.
type story struct {
	tool     tool
	name     string
	caBundle *string
	objects  []client.Object
	witness  map[client.Object]*witness
}

func newStory(t *testing.T, tool tool, name string, caBundle *string) *story {
	t.Helper()
	s := &story{tool: tool, name: name, caBundle: caBundle, witness: map[client.Object]*witness{}}
	_, s.objects = manifestsOf(t, name, "", nil)
	t.Cleanup(func() {
		for _, object := range s.objects {
			if err := shared.client.Delete(context.WithoutCancel(t.Context()), object); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func (s *story) play(t *testing.T) {
	first, second := playground.NewCA("first"), playground.NewCA("second")
	shared.create(t, playground.NewSecret(namespace, s.name, first))
	s.begin(t)
	s.filled(t, first)
	shared.published(t, s.name)
	for _, object := range s.objects {
		s.witness[object] = shared.witnessOf(t, object, !shared.atOnce(t, shared.kindOf(t, object)))
	}
	s.applyAgain(t, "2", first)
	shared.changeSecret(t, s.name, func(secret *corev1.Secret) { secret.Data["ca.crt"] = second })
	s.filled(t, first, second)
	s.applyAgain(t, "3", first, second)
	s.standStill(t, first, second)
}

// begin applies for the first time.
func (s *story) begin(t *testing.T) {
	t.Helper()
	text, _ := manifestsOf(t, s.name, "1", s.caBundle)
	begin := s.tool.apply
	if s.tool.create != nil {
		begin = s.tool.create
	}
	if err := begin(t, s.name, text); err != nil {
		t.Fatal("for the first time:", err)
	}
}

// filled waits until all is as it should be, and read.
func (s *story) filled(t *testing.T, want ...[]byte) {
	t.Helper()
	for _, object := range s.objects {
		shared.filled(t, object, want...)
		shared.ownerless(t, object)
	}
}

// applyAgain applies the next version. All is in force at once; but for webhook configurations if no policy fills them.
func (s *story) applyAgain(t *testing.T, version string, want ...[]byte) {
	t.Helper()
	text, _ := manifestsOf(t, s.name, version, s.caBundle)
	if err := s.tool.apply(t, s.name, text); err != nil {
		t.Fatalf("version %s: %v", version, err)
	}
	for _, object := range s.objects {
		if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		if !shared.atOnce(t, shared.kindOf(t, object)) {
			shared.filled(t, object, want...)
		} else if err := playground.Holds(object, want...); err != nil {
			t.Errorf("right after version %s: %v", version, err)
		}
		if object.GetLabels()["version"] != version {
			t.Errorf("%T is not of version %s: %v", object, version, object.GetLabels())
		}
		if object.GetAnnotations()[cabundle.InjectCAFromSecretAnnotation] == "" {
			t.Errorf("%T has lost its annotation", object)
		}
	}
}

// standStill fails the test unless nobody writes any more: neither caject, in some rounds of its periodic loop, nor the tool,
// when the same is applied again. (What is only filled after it was stored is as it was before once that has happened.)
func (s *story) standStill(t *testing.T, want ...[]byte) {
	t.Helper()
	text, _ := manifestsOf(t, s.name, "3", s.caBundle)
	before := s.states(t)
	shared.waitForATick(t)
	shared.waitForATick(t)
	s.unchangedSince(t, before, "by itself")
	if s.tool.compare != nil {
		differing, err := s.tool.compare(t, s.name, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range differing {
			if !s.drifts(t, line) {
				t.Errorf("differs: %s", line)
			}
		}
	}
	if err := s.tool.apply(t, s.name, text); err != nil {
		t.Fatal("the same again:", err)
	}
	for _, object := range s.objects {
		if !shared.atOnce(t, shared.kindOf(t, object)) {
			shared.filled(t, object, want...)
			shared.ownerless(t, object)
			before[object] = s.witness[object].testify(t, object)
		}
	}
	shared.waitForATick(t)
	s.unchangedSince(t, before, "after the same was applied again")
}

// drifts reports whether a line about an object that differs is to be expected: where no policy fills webhook configurations, no dry run of
// a placeholder shows what they hold.
func (s *story) drifts(t *testing.T, line string) bool {
	t.Helper()
	return !shared.byPolicy(t, cabundle.MutatingWebhookConfiguration) && s.caBundle != nil && *s.caBundle == "Cg==" && strings.Contains(line, "WebhookConfiguration")
}

// states reads the objects, and hears the witnesses until then.
func (s *story) states(t *testing.T) map[client.Object]state {
	t.Helper()
	states := map[client.Object]state{}
	for _, object := range s.objects {
		if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		states[object] = s.witness[object].testify(t, object)
	}
	return states
}

func (s *story) unchangedSince(t *testing.T, before map[client.Object]state, when string) {
	t.Helper()
	for object, now := range s.states(t) {
		if n := now.changes - before[object].changes; n > 0 {
			t.Errorf("%s, %T changed %d times:\n%s", when, object, n, cmp.Diff(before[object].content, now.content))
		}
	}
}
