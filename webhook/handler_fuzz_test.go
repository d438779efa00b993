package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// addReviews adds what the API server sends for manifests of well-known projects, and what is nearly that.
func addReviews(f *testing.F) {
	f.Helper()
	paths, err := filepath.Glob("../cabundle/testdata/manifests/*.yaml")
	if err != nil || len(paths) == 0 {
		f.Fatal("no manifests: ", err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := yaml.YAMLToJSON(content)
		if err != nil {
			f.Fatal(err)
		}
		var object metav1.PartialObjectMetadata
		if err := json.Unmarshal(raw, &object); err != nil {
			f.Fatal(err)
		}
		gvk := object.GroupVersionKind()
		f.Add(encodeReview(f, admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			UID: "a-uid", Name: object.Name, Operation: admissionv1.Update,
			Kind:   metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
			Object: runtime.RawExtension{Raw: raw}, OldObject: runtime.RawExtension{Raw: raw},
		}}))
	}
	secret := `{"metadata":{"name":"ca","annotations":{"cert-manager.io/certificate-name":"ca"}},"data":{"ca.crt":"Cg==","tls.key":"Cg=="}}`
	f.Add(encodeReview(f, admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "a-uid", Namespace: "ns", Name: "ca", Operation: admissionv1.Create,
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Secret"}, Object: runtime.RawExtension{Raw: []byte(secret)},
	}}))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"1","object":[]}}`))
	f.Add([]byte(`{"request":{"uid":"1","kind":{"group":"apiregistration.k8s.io","kind":"APIService"},"operation":"CREATE","object":{"spec":{"service":{}}}}}`))
}

// FuzzInjectHandler: whatever is sent is answered; who is answered by name is allowed; and a patch is one of caBundles.
func FuzzInjectHandler(f *testing.F) {
	addReviews(f)
	injector, _ := newInjector(&fakeSource{ca: newCA})
	handler := NewServer(ServerOptions{}).chain(injector)
	f.Fuzz(func(t *testing.T, body []byte) {
		response := answerTo(t, handler, InjectPath, body)
		if len(response.Patch) == 0 {
			return
		}
		var patch []jsonpatch.Operation
		if err := json.Unmarshal(response.Patch, &patch); err != nil {
			t.Fatal(err)
		}
		for _, operation := range patch {
			if operation.Operation != "add" || !strings.HasSuffix(operation.Path, "/caBundle") {
				t.Errorf("it does %s %s", operation.Operation, operation.Path)
			}
		}
	})
}

// FuzzHintHandler: whatever is sent is answered; who is answered by name is allowed; and nothing is changed.
func FuzzHintHandler(f *testing.F) {
	addReviews(f)
	key := cabundletest.PrivateKey()
	f.Add(encodeReview(f, admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "a-uid", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Secret"},
		Object: runtime.RawExtension{Raw: encode(f, map[string]any{"data": map[string][]byte{"tls.key": key}})},
	}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		hints := 0
		hint := func(ref cabundle.Reference) {
			if hints++; ref.Kind == cabundle.APIServer {
				t.Errorf("a hint at %v", ref)
			}
		}
		handler := NewServer(ServerOptions{}).chain(NewHinter(hint, hint))
		if response := answerTo(t, handler, HintPath, body); len(response.Patch) > 0 || hints > 7 {
			t.Errorf("%d hints, patch %s", hints, response.Patch)
		}
	})
}

// answerTo posts body, and fails the test unless the answer is one that stands in nobody's way: it is allowed, or it has no
// UID, so that the API server takes it for a call that failed.
func answerTo(t *testing.T, handler http.Handler, path string, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &review); err != nil || recorder.Code != http.StatusOK || review.Response == nil {
		t.Fatalf("answered %d, %v: %s", recorder.Code, err, recorder.Body)
	}
	if !review.Response.Allowed && review.Response.UID != "" {
		t.Fatalf("denied: %+v", review.Response)
	}
	return review.Response
}
