// Package metricsauth lets only those read metrics whom the API server knows and says that they may. It is what
// controller-runtime's filters.WithAuthenticationAndAuthorization does, without k8s.io/apiserver, which would bring 250 packages
// along.
//
// A caller shows a bearer token, as Prometheus does: "Authorization: Bearer …". The API server is asked whose it is (a
// TokenReview), and whether they may get the path (a SubjectAccessReview; nonResourceURLs in a ClusterRole). Its word is good for
// half a minute, so a token that was withdrawn works for that much longer. Serve over TLS alone: else tokens are sent in the clear.
package metricsauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// verdictLifetime is how long the API server's word about a token is good. It bounds how long one that was withdrawn
	// still works, and how often the API server is asked.
	verdictLifetime = 30 * time.Second
	// maxVerdicts bounds the memory that callers with ever new tokens can take.
	maxVerdicts = 256
	// reviewTimeout is the most that one question to the API server takes.
	reviewTimeout = 5 * time.Second
	// maxTokenBytes is far more than a ServiceAccount's token has.
	maxTokenBytes = 16 << 10
)

// tokenReviewer and accessReviewer are the two questions to the API server: who is it, and may they.
type (
	tokenReviewer interface {
		Create(context.Context, *authenticationv1.TokenReview, metav1.CreateOptions) (*authenticationv1.TokenReview, error)
	}
	accessReviewer interface {
		Create(context.Context, *authorizationv1.SubjectAccessReview, metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error)
	}
)

// guard lets those pass who may.
type guard struct {
	tokens   tokenReviewer
	accesses accessReviewer
	// verdicts holds the status that a token has had, by the hash of token, method and path: no token is kept.
	verdicts *cache.LRUExpireCache
}

// NewFilter returns a filter for controller-runtime's metrics server, in the form that its options ask for
// (metricsserver.Options.FilterProvider).
func NewFilter(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	tokens, err := authenticationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	accesses, err := authorizationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	g := &guard{tokens.TokenReviews(), accesses.SubjectAccessReviews(), cache.NewLRUExpireCache(maxVerdicts)}
	return g.filter, nil
}

// filter puts the guard before next.
func (g *guard) filter(log logr.Logger, next http.Handler) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := g.judge(r)
		if err != nil {
			log.Error(err, "The API server does not say who may read metrics")
		}
		if status != http.StatusOK {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			http.Error(w, http.StatusText(status), status)
			return
		}
		next.ServeHTTP(w, r)
	}), nil
}

// judge returns 200 for who may pass; 401 for who is not known, 403 for who may not, and 503, with the error, if that cannot
// be found out.
func (g *guard) judge(r *http.Request) (int, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxTokenBytes {
		return http.StatusUnauthorized, nil
	}
	key := sha256.Sum256([]byte(r.Method + " " + r.URL.Path + " " + token))
	if status, ok := g.verdicts.Get(key); ok {
		return status.(int), nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), reviewTimeout)
	defer cancel()
	status, err := g.ask(ctx, token, strings.ToLower(r.Method), r.URL.Path)
	if err != nil {
		return http.StatusServiceUnavailable, err
	}
	g.verdicts.Add(key, status, verdictLifetime)
	return status, nil
}

// ask asks the API server.
func (g *guard) ask(ctx context.Context, token, verb, path string) (int, error) {
	who, err := g.tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("create a TokenReview: %w", err)
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	may, err := g.accesses.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
	}}, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("create a SubjectAccessReview: %w", err)
	}
	if !may.Status.Allowed {
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}
