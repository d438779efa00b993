package metricsauth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
)

// fakeReviewers know the tokens good and powerless, of users of the same name, and nobody while away.
type fakeReviewers struct {
	away  bool
	asked int
}

type fakeAccesses struct{ *fakeReviewers }

func (f *fakeReviewers) Create(_ context.Context, r *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	f.asked++
	if f.away {
		return nil, errors.New("away")
	}
	if token := r.Spec.Token; token == "good" || token == "powerless" {
		r.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: token}}
	}
	return r, nil
}

func (f fakeAccesses) Create(_ context.Context, r *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	want := authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"}
	r.Status.Allowed = r.Spec.User == "good" && *r.Spec.NonResourceAttributes == want
	return r, nil
}

// TestFilter is about what the API server is not asked; what it says is for the end-to-end tests.
func TestFilter(t *testing.T) {
	reviewers := &fakeReviewers{}
	g := &guard{reviewers, fakeAccesses{reviewers}, cache.NewLRUExpireCache(maxVerdicts)}
	handler, err := g.filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		sentence, method, path, authorization string
		away                                  bool
		status, asked                         int
	}{
		{"no header", "GET", "/metrics", "", false, 401, 0},
		{"another scheme", "GET", "/metrics", "Basic good", false, 401, 0},
		{"no token", "GET", "/metrics", "Bearer ", false, 401, 0},
		{"an endless token", "GET", "/metrics", "Bearer " + strings.Repeat("x", maxTokenBytes+1), false, 401, 0},
		{"trouble", "GET", "/metrics", "Bearer good", true, 503, 1},
		{"trouble is not remembered", "GET", "/metrics", "Bearer good", false, 200, 1},
		{"a verdict is", "GET", "/metrics", "bearer good", true, 200, 0},
		{"not for another path", "GET", "/debug", "Bearer good", false, 403, 1},
		{"not for another method", "POST", "/metrics", "Bearer good", false, 403, 1},
		{"an unknown token", "GET", "/metrics", "Bearer bad", false, 401, 1},
		{"it is remembered, too", "GET", "/metrics", "Bearer bad", false, 401, 0},
		{"a user who may not", "GET", "/metrics", "Bearer powerless", false, 403, 1},
	}
	for _, step := range steps {
		reviewers.away, reviewers.asked = step.away, 0
		request := httptest.NewRequestWithContext(t.Context(), step.method, step.path, nil)
		request.Header.Set("Authorization", step.authorization)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != step.status || reviewers.asked != step.asked {
			t.Errorf("%s: status %d, and the API server was asked %d times", step.sentence, recorder.Code, reviewers.asked)
		}
	}
}
