package cluster

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/caject/caject/cabundle"
)

var service = cabundle.Target{Kind: cabundle.APIService, Name: "v1.example.com"}

const (
	servicePath = "/apis/apiregistration.k8s.io/v1/apiservices/v1.example.com"
	owned       = `[
		{"manager":"helm","operation":"Update","time":"2026-06-01T12:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:service":{}}}},
		{"manager":"caject","operation":"Update","time":"2026-06-01T12:01:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:caBundle":{}}}}]`
	storedService = `{"metadata":{"name":"v1.example.com","resourceVersion":"5","managedFields":` + owned + `},"spec":{"service":{},"caBundle":"Cg=="}}`
)

// request is what an API server was asked.
type request struct{ method, url, contentType, accept, body string }

// serve answers each request with code and body, and notes it.
func serve(t *testing.T, code int, body string) (url string, _ *[]request) {
	t.Helper()
	var requests []request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		requests = append(requests, request{r.Method, r.URL.String(), r.Header.Get("Content-Type"), r.Header.Get("Accept"), string(sent)})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL, &requests
}

// server returns the Targets of a server that answers each request with code and body, and what it is asked.
func server(t *testing.T, code int, body string) (*Targets, *[]request) {
	t.Helper()
	url, requests := serve(t, code, body)
	targets, err := NewTargets(&rest.Config{Host: url}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	return targets, requests
}

func expectRequests(t *testing.T, got *[]request, want ...request) {
	t.Helper()
	if diff := cmp.Diff(want, *got, cmp.AllowUnexported(request{})); diff != "" {
		t.Error(diff)
	}
}

func TestATargetIsReadAsJSONWithItsManagers(t *testing.T) {
	for freshness, url := range map[Freshness]string{Consistent: servicePath, Cached: servicePath + "?resourceVersion=0"} {
		targets, requests := server(t, http.StatusOK, storedService)
		got, err := targets.Get(t.Context(), service, freshness)
		if err != nil {
			t.Fatal(err)
		}
		if got.Target != service || got.ResourceVersion != "5" || len(got.Fields) != 1 || string(got.Fields[0].CABundle) != "\n" {
			t.Errorf("read %+v", got)
		}
		if len(got.Managers) != 2 || !got.Managers[1].CABundle || got.Managers[0].CABundle {
			t.Errorf("the managers are %+v", got.Managers)
		}
		expectRequests(t, requests, request{"GET", url, "", "application/json", ""})
	}
}

func TestATargetIsAdmittedAgain(t *testing.T) {
	for manager, byPolicy := range map[string]bool{"caject-webhook": false, "caject-policy": true} {
		targets, requests := server(t, http.StatusOK, storedService)
		got, err := targets.Readmit(t.Context(), service, byPolicy)
		if err != nil || got.ResourceVersion != "5" {
			t.Errorf("returned %+v, %v", got, err)
		}
		expectRequests(t, requests, request{"PATCH", servicePath + "?fieldManager=" + manager, "application/merge-patch+json", "application/json", "{}"})
	}
}

func TestAPatchIsGuarded(t *testing.T) {
	targets, requests := server(t, http.StatusOK, `{"metadata":{"name":"v1.example.com","resourceVersion":"6","generation":3}}`)
	object := cabundle.Object{Target: service, ResourceVersion: "5"}
	patch := []jsonpatch.Operation{jsonpatch.NewOperation("add", "/spec/caBundle", "QQ==")}
	written, err := targets.Patch(t.Context(), object, patch)
	if err != nil || written.ResourceVersion != "6" || written.Generation != 3 {
		t.Errorf("returned %+v, %v", written, err)
	}
	expectRequests(t, requests, request{
		"PATCH", servicePath + "?fieldManager=caject", "application/json-patch+json", metadataOnly,
		`[{"op":"add","path":"/metadata/resourceVersion","value":"5"},{"op":"add","path":"/spec/caBundle","value":"QQ=="}]`,
	})
}

func TestDisownRemovesOurEntryAlone(t *testing.T) {
	targets, requests := server(t, http.StatusOK, `{"metadata":{"resourceVersion":"7"}}`)
	written := parse(service.Kind, []byte(storedService))
	written.Target = service
	after, err := targets.Disown(t.Context(), written, FieldManager)
	if err != nil || after.ResourceVersion != "7" {
		t.Errorf("returned %+v, %v", after, err)
	}
	expectRequests(t, requests, request{
		"PATCH", servicePath + "?fieldManager=caject", "application/json-patch+json", metadataOnly,
		`[{"op":"add","path":"/metadata/resourceVersion","value":"5"},{"op":"remove","path":"/metadata/managedFields/1"}]`,
	})
	*requests = nil
	written.Managers = written.Managers[:1]
	if after, err = targets.Disown(t.Context(), written, FieldManager); err != nil || after.ResourceVersion != "5" {
		t.Errorf("returned %+v, %v", after, err)
	}
	expectRequests(t, requests)
}

func TestManagersAreReadFromMetadataAlone(t *testing.T) {
	targets, requests := server(t, http.StatusOK, `{"metadata":{"managedFields":`+owned+`}}`)
	managers, err := targets.Managers(t.Context(), service)
	if err != nil || len(managers) != 2 || cabundle.LastManager(managers) != "helm" {
		t.Errorf("returned %+v, %v", managers, err)
	}
	expectRequests(t, requests, request{"GET", servicePath, "", metadataOnly, ""})
}

func TestErrorsAreTheAPIServersAndNameTheTarget(t *testing.T) {
	status := apierrors.NewConflict(schema.GroupResource{Resource: "apiservices"}, service.Name, nil).Status()
	body, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	targets, _ := server(t, http.StatusConflict, string(body))
	object := cabundle.Object{Target: service, ResourceVersion: "5"}
	errs := map[string]error{}
	_, errs["Get"] = targets.Get(t.Context(), service, Consistent)
	_, errs["Readmit"] = targets.Readmit(t.Context(), service, false)
	_, errs["Patch"] = targets.Patch(t.Context(), object, nil)
	_, errs["Managers"] = targets.Managers(t.Context(), service)
	for method, err := range errs {
		if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), service.String()) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestAProbeIsADryRunThatTheWebhookAnswers(t *testing.T) {
	for sentence, test := range map[string]struct {
		warnings []string
		want     bool
	}{
		"nobody was called":                 {nil, false},
		"somebody else has warned":          {[]string{"v1beta1 is deprecated"}, false},
		"caject was called":                 {[]string{cabundle.ProbeAnswer}, true},
		"caject was called, beside another": {[]string{"v1beta1 is deprecated", cabundle.ProbeAnswer}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			var asked string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				asked = r.Method + " " + r.URL.String() + " " + string(body)
				for _, warning := range test.warnings {
					w.Header().Add("Warning", `299 - "`+warning+`"`)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, storedService)
			}))
			defer s.Close()
			targets, err := NewTargets(&rest.Config{Host: s.URL}, http.DefaultClient)
			if err != nil {
				t.Fatal(err)
			}
			got, err := targets.Called(t.Context(), service)
			if err != nil || got != test.want {
				t.Errorf("called: %v, %v", got, err)
			}
			if want := "PATCH " + servicePath + "?dryRun=All&fieldManager=caject-probe {}"; asked != want {
				t.Errorf("it asks %s, not %s", asked, want)
			}
		})
	}
	targets, _ := server(t, http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
	if _, err := targets.Called(t.Context(), service); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), service.Name) {
		t.Errorf("of one that is gone: %v", err)
	}
}
