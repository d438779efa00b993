package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/caject/caject/cabundle"
)

// post sends body to the handler, as the API server does, and returns what it answers.
func post(t testing.TB, s sourceReader, url, contentType string, body io.Reader) (int, *admissionv1.AdmissionReview) {
	t.Helper()
	injector, _ := newInjector(s)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	request.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	NewServer(ServerOptions{}).chain(injector).ServeHTTP(recorder, request)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &review); err != nil {
		t.Fatalf("the answer is no AdmissionReview: %v: %s", err, recorder.Body)
	}
	return recorder.Code, &review
}

func review(t testing.TB) []byte {
	return encodeReview(t, request(t, cabundle.CustomResourceDefinition, crd(annotated, nil), nil))
}

// encodeReview returns the JSON that the API server sends for r.
func encodeReview(t testing.TB, r admission.Request) []byte {
	return encode(t, admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  &r.AdmissionRequest,
	})
}

func TestHandlerAnswersAReview(t *testing.T) {
	code, got := post(t, &fakeSource{ca: newCA}, InjectPath+"?timeout=3s", "application/json", bytes.NewReader(review(t)))
	if code != http.StatusOK || got.Response == nil {
		t.Fatalf("answered %d, %v", code, got)
	}
	if got.APIVersion != "admission.k8s.io/v1" || got.Kind != "AdmissionReview" {
		t.Errorf("the answer is a %s %s", got.APIVersion, got.Kind)
	}
	r := got.Response
	if !r.Allowed || r.UID != "a-uid" || r.PatchType == nil || *r.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Errorf("response is %+v", r)
	}
	if !strings.Contains(string(r.Patch), `"path":"/spec/conversion/webhook/clientConfig/caBundle"`) {
		t.Errorf("patch is %s", r.Patch)
	}
}

func TestHandlerSurvivesPanics(t *testing.T) {
	code, got := post(t, &fakeSource{panics: true}, InjectPath, "application/json", bytes.NewReader(review(t)))
	if code != http.StatusOK || got.Response == nil || !got.Response.Allowed || got.Response.UID != "a-uid" || len(got.Response.Warnings) != 1 {
		t.Errorf("answered %d, %+v", code, got.Response)
	}
}

func TestHandlerRefusesWhatItCannotRead(t *testing.T) {
	valid := string(review(t))
	tests := map[string]struct {
		contentType string
		body        io.Reader
	}{
		"an empty body":            {"application/json", http.NoBody},
		"no JSON":                  {"application/json", strings.NewReader("nonsense")},
		"half a review":            {"application/json", strings.NewReader(valid[:len(valid)/2])},
		"JSON that is no review":   {"application/json", strings.NewReader(`{"a":1}`)},
		"a review without request": {"application/json", strings.NewReader(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`)},
		"a review of nothing":      {"application/json", strings.NewReader(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}`)},
		"an array":                 {"application/json", strings.NewReader(`[]`)},
		"another content type":     {"text/plain", strings.NewReader(valid)},
		"no content type":          {"", strings.NewReader(valid)},
		"a body over the limit":    {"application/json", io.LimitReader(spaces{}, 8<<20)},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			s := &fakeSource{ca: newCA}
			httpCode, got := post(t, s, InjectPath, test.contentType, test.body)
			if got.Response == nil || got.Response.Result == nil {
				t.Fatalf("answered %d, %+v", httpCode, got.Response)
			}
			if code := got.Response.Result.Code; code < 400 || code > 499 {
				t.Errorf("answered with code %d", code)
			}
			if got.Response.Result.Message == "" {
				t.Error("the answer does not say why")
			}
			if len(s.asked) > 0 {
				t.Error("a source was read")
			}
		})
	}
}

// spaces is endless white space.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestHandlerHonoursTheDeadlineOfTheAPIServer(t *testing.T) {
	start := time.Now()
	_, got := post(t, &fakeSource{blocks: true}, InjectPath+"?timeout=300ms", "application/json", bytes.NewReader(review(t)))
	// Without it, the source's own limit of 1.5 s would hold.
	if took := time.Since(start); took >= sourceTimeout {
		t.Errorf("it took %v", took)
	}
	if got.Response == nil || !got.Response.Allowed || len(got.Response.Warnings) != 1 {
		t.Errorf("response is %+v", got.Response)
	}
}

func TestHandlerIgnoresANonsenseDeadline(t *testing.T) {
	for _, timeout := range []string{"", "x", "-1s", "0s"} {
		_, got := post(t, &fakeSource{ca: newCA}, InjectPath+"?timeout="+timeout, "application/json", bytes.NewReader(review(t)))
		if got.Response == nil || len(got.Response.Patch) == 0 {
			t.Errorf("timeout %q: response is %+v", timeout, got.Response)
		}
	}
}

// BenchmarkHandler measures all that happens between the bytes of a review and those of the answer.
func BenchmarkHandler(b *testing.B) {
	r := request(b, cabundle.CustomResourceDefinition, bigCRD(), nil)
	body := encodeReview(b, r)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, got := post(b, &fakeSource{ca: newCA}, InjectPath, "application/json", bytes.NewReader(body)); len(got.Response.Patch) == 0 {
			b.Fatal(got)
		}
	}
}
