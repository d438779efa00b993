package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// TestInjectorTakesAwayWhatMustGo is about updates that leave an object nothing but our caBundle.
func TestInjectorTakesAwayWhatMustGo(t *testing.T) {
	unconverted := func(annotations map[string]string) *apiextensionsv1.CustomResourceDefinition {
		object := crd(annotations, oldCA)
		object.Spec.Conversion.Strategy = apiextensionsv1.NoneConverter
		return object
	}
	removed := []jsonpatch.Operation{jsonpatch.NewOperation("remove", "/spec/conversion/webhook", nil)}
	for sentence, test := range map[string]struct {
		object   any
		patch    []jsonpatch.Operation
		warnings []string
	}{
		"it still asks for injection":    {unconverted(annotated), removed, []string{"caBundle removed"}},
		"it does not ask for it anymore": {unconverted(nil), removed, []string{"caBundle removed"}},
		"it goes on converting":          {crd(nil, oldCA), nil, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			injector, _ := newInjector(&fakeSource{ca: newCA})
			got := injector.Handle(t.Context(), request(t, cabundle.CustomResourceDefinition, test.object, crd(annotated, oldCA)))
			if diff := cmp.Diff(test.patch, got.Patches); diff != "" || !got.Allowed {
				t.Error(diff)
			}
			checkWarnings(t, got.Warnings, test.warnings)
		})
	}
}

// checkWarnings fails the test unless each of got holds the part of want at its place.
func checkWarnings(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("warnings are %q", got)
	}
	for n, part := range want {
		if !strings.HasPrefix(got[n], "caject: ") || !strings.Contains(got[n], part) {
			t.Errorf("warning %q lacks %q", got[n], part)
		}
	}
}

func TestInjectorWarnsOfWhiteSpace(t *testing.T) {
	injector, _ := newInjector(&fakeSource{ca: newCA})
	padded := map[string]string{cabundle.InjectAnnotation: "secret/ns/name\n"}
	got := injector.Handle(t.Context(), request(t, cabundle.CustomResourceDefinition, crd(padded, nil), nil))
	if diff := cmp.Diff(fill(newCA), got.Patches); diff != "" {
		t.Error(diff)
	}
	checkWarnings(t, got.Warnings, []string{"white space around the value of annotation caject.io/inject-ca-from"})
}

// TestHinterWarnsOfWhiteSpace: whoever writes a Secret that opts in is told, once, and the Certificate that it names is hinted at.
func TestHinterWarnsOfWhiteSpace(t *testing.T) {
	for sentence, test := range cabundletest.OptIns {
		t.Run(sentence, func(t *testing.T) {
			var hints []string
			hinter := NewHinter(func(ref cabundle.Reference) { hints = append(hints, ref.String()) }, func(cabundle.Reference) {})
			object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "secret", Annotations: test.Annotations}}
			got := hinter.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				UID: "a-uid", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Secret"}, Namespace: "ns", Name: "secret",
				Operation: admissionv1.Update, Object: runtime.RawExtension{Raw: encode(t, object)},
				OldObject: runtime.RawExtension{Raw: encode(t, &corev1.Secret{})},
			}})
			var want []string
			if test.Padded != "" {
				want = []string{"annotation " + test.Padded + " is left out"}
			}
			checkWarnings(t, got.Warnings, want)
			wantHints := []string{"secret/ns/secret"}
			if test.Certificate != "" {
				wantHints = append(wantHints, "certificate/ns/"+test.Certificate)
			}
			if diff := cmp.Diff(wantHints, hints); diff != "" || !got.Allowed {
				t.Error(diff)
			}
		})
	}
}
