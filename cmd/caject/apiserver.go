package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// loadConfig returns how to reach the API server. It reads the files anew each time.
func loadConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	// The API server's own priority and fairness is enough: client-go's limit would hold back a rotation.
	config.QPS = -1
	config.UserAgent = "caject/" + versionString()
	return config, nil
}

// apiServerCA returns a function that returns the API server's CA in PEM: that of the kubeconfig or service account, as
// the files hold it at the time of the call.
func apiServerCA(kubeconfig string) func() ([]byte, error) {
	return func() ([]byte, error) {
		config, err := loadConfig(kubeconfig)
		switch {
		case err != nil:
			return nil, err
		case len(config.CAData) > 0:
			return config.CAData, nil
		case config.CAFile != "":
			return os.ReadFile(config.CAFile)
		}
		return nil, errors.New("the kubeconfig names none")
	}
}

// connection says in the log when the API server goes away and comes back: once for each, not at each try.
type connection struct {
	log logr.Logger

	mu   sync.Mutex
	away time.Time // since when; zero while it answers
}

// watch returns a transport that tells c how each request over next went.
func (c *connection) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil || request.Context().Err() == nil { // else we gave up, which says nothing about the API server
			c.note(request.URL.Host, err)
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func (c *connection) note(host string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && c.away.IsZero():
		c.away = time.Now()
		c.log.Error(err, "API server unreachable; trying again until it answers", "host", host)
	case err == nil && !c.away.IsZero():
		c.log.Info("API server answers again", "after", time.Since(c.away).Round(time.Millisecond).String())
		c.away = time.Time{}
	}
}
