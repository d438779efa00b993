package health

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

func TestProbes(t *testing.T) {
	good := func(*http.Request) error { return nil }
	bad := func(what string) healthz.Checker {
		return func(*http.Request) error { return errors.New(what) }
	}
	for sentence, test := range map[string]struct {
		probes Probes
		path   string
		status int
		body   string
	}{
		"nothing to check":            {Probes{}, "/readyz", 200, "ok\n"},
		"all is well":                 {Probes{Ready: []healthz.Checker{good, good}}, "/readyz", 200, "ok\n"},
		"one fails":                   {Probes{Ready: []healthz.Checker{good, bad("a"), good}}, "/readyz", 503, "a\n"},
		"the first that fails counts": {Probes{Live: []healthz.Checker{bad("a"), bad("b")}}, "/livez", 503, "a\n"},
		"alive, though not ready":     {Probes{Live: []healthz.Checker{good}, Ready: []healthz.Checker{bad("a")}}, "/livez", 200, "ok\n"},
		"another path":                {Probes{}, "/healthz", 404, "404 page not found\n"},
	} {
		t.Run(sentence, func(t *testing.T) {
			recorder := httptest.NewRecorder()
			test.probes.handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.path, nil))
			if recorder.Code != test.status || recorder.Body.String() != test.body {
				t.Errorf("%d %q", recorder.Code, recorder.Body)
			}
			if test.path == "/readyz" && test.probes.IsReady() != (test.status == http.StatusOK) {
				t.Error("from within it is said otherwise")
			}
		})
	}
}
