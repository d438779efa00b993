package webhook

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/caject/caject/cabundle"
)

func TestHints(t *testing.T) {
	const allow, certificate = cabundle.AllowDirectInjectionAnnotation, cabundle.CertificateNameAnnotation
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Secret"}
	tests := map[string]struct {
		kind          metav1.GroupVersionKind
		before, after map[string]string // annotations
		dryRun        bool
		hints, ahead  []string
	}{
		"a Secret that allows injection":          {kind: kind, after: map[string]string{allow: "true"}, hints: []string{"secret/ns/name"}, ahead: []string{"secret/ns/name"}},
		"one that does so no more":                {kind: kind, before: map[string]string{allow: "true"}, hints: []string{"secret/ns/name"}, ahead: []string{"secret/ns/name"}},
		"one that does not":                       {kind: kind, after: map[string]string{allow: "false"}, hints: []string{"secret/ns/name"}},
		"one of a Certificate":                    {kind: kind, after: map[string]string{certificate: "c"}, hints: []string{"secret/ns/name", "certificate/ns/c"}, ahead: []string{"certificate/ns/c"}},
		"a Certificate":                           {kind: metav1.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"}, hints: []string{"certificate/ns/name"}, ahead: []string{"certificate/ns/name"}},
		"something else":                          {kind: metav1.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}},
		"what is tried without being written":     {kind: kind, after: map[string]string{allow: "true"}, dryRun: true},
		"a Secret with white space in the opt-in": {kind: kind, after: map[string]string{allow: "true\n"}, hints: []string{"secret/ns/name"}, ahead: []string{"secret/ns/name"}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			var hints, ahead []string
			h := NewHinter(
				func(ref cabundle.Reference) { hints = append(hints, ref.String()) },
				func(ref cabundle.Reference) {
					if len(ahead) == 0 || ahead[len(ahead)-1] != ref.String() {
						ahead = append(ahead, ref.String())
					}
				},
			)
			secret := func(annotations map[string]string) runtime.RawExtension {
				return runtime.RawExtension{Raw: encode(t, map[string]any{"metadata": map[string]any{"annotations": annotations}})}
			}
			response := h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				UID: "uid", Kind: test.kind, Namespace: "ns", Name: "name", DryRun: ptr.To(test.dryRun),
				OldObject: secret(test.before), Object: secret(test.after),
			}})
			if !response.Allowed || len(response.Patches) > 0 {
				t.Errorf("the answer is %+v", response)
			}
			if diff := cmp.Diff(test.hints, hints); diff != "" {
				t.Error("hints:", diff)
			}
			if diff := cmp.Diff(test.ahead, ahead); diff != "" {
				t.Error("ahead:", diff)
			}
		})
	}
}
