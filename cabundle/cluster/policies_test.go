package cluster

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// TestWhatTheAPIServerServes asks one that serves some versions of some resources.
func TestWhatTheAPIServerServes(t *testing.T) {
	const webhooks, policies = `{"name":"validatingwebhookconfigurations"}`, `{"name":"mutatingadmissionpolicies"}`
	for sentence, test := range map[string]struct {
		versions map[string]string // what is in each
		status   int               // of all others
		version  string
		wrong    bool
	}{
		"v1":                {map[string]string{"v1": webhooks + "," + policies}, http.StatusNotFound, "v1", false},
		"the beta":          {map[string]string{"v1": webhooks, "v1beta1": policies}, http.StatusNotFound, "v1beta1", false},
		"none, no beta":     {map[string]string{"v1": webhooks}, http.StatusNotFound, "", false},
		"none in the beta":  {map[string]string{"v1": webhooks, "v1beta1": `{"name":"validatingadmissionpolicies"}`}, http.StatusNotFound, "", false},
		"it does not know":  {nil, http.StatusServiceUnavailable, "", true},
		"it does not allow": {nil, http.StatusForbidden, "", true},
	} {
		t.Run(sentence, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				resources, ok := test.versions[strings.TrimPrefix(r.URL.Path, "/apis/admissionregistration.k8s.io/")]
				if !ok {
					w.WriteHeader(test.status)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"kind":"APIResourceList","apiVersion":"v1","resources":[` + resources + `]}`))
			}))
			defer server.Close()
			d, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			version, err := PolicyVersion(d)
			if version != test.version || (err != nil) != test.wrong {
				t.Errorf("%q, %v", version, err)
			}
		})
	}
}
