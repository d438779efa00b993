package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
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
	config.UserAgent = "caject/" + moduleVersion()
	return config, nil
}

// Of an HTTP/2 connection on which nothing has arrived for silentAfter seconds the other side is asked whether it is there, and one that does
// not answer within answersWithin is closed. client-go's 30 and 15 seconds are long for one of several API servers that has gone without a word,
// as with its machine: the next connection leads to another one.
const silentAfter, answersWithin = 5, 5

// noticeSilence has client-go do so, unless the environment has it otherwise. It is called before the first connection is made.
func noticeSilence() error {
	for name, seconds := range map[string]int{
		"HTTP2_READ_IDLE_TIMEOUT_SECONDS": silentAfter,
		"HTTP2_PING_TIMEOUT_SECONDS":      answersWithin,
	} {
		if os.Getenv(name) != "" {
			continue
		}
		if err := os.Setenv(name, strconv.Itoa(seconds)); err != nil {
			return err
		}
	}
	return nil
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

// rejectedAfter is for how long the API server must reject caject's token until that is taken for more than the moment in which it starts.
const rejectedAfter = 10 * time.Second

// connection says in the log when the API server goes away and comes back, and when it rejects caject's token for a while and takes it again:
// once for each, not at each try.
type connection struct {
	log   logr.Logger
	clock clock.PassiveClock
	// back has something to receive after the API server was away.
	back chan struct{}

	mu       sync.Mutex
	away     time.Time // since when; zero while it answers
	rejected time.Time // since when it answers nothing but 401; zero if it does not
	told     bool      // it was logged that it does
}

func newConnection(log logr.Logger, c clock.PassiveClock) *connection {
	return &connection{log: log, clock: c, back: make(chan struct{}, 1)}
}

// watch returns a transport that tells c how each request over next went.
func (c *connection) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		switch {
		case err == nil:
			c.answered(response.StatusCode)
		case request.Context().Err() == nil: // else we gave up, which says nothing about the API server
			c.failed(request.URL.Host, err)
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// failed takes in that a request got no answer.
func (c *connection) failed(host string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away.IsZero() {
		c.away = c.clock.Now()
		c.log.Error(err, "API server unreachable; trying again until it answers", "host", host)
	}
	if !c.told { // one that starts may reject a token once more
		c.rejected = time.Time{}
	}
}

// answered takes in the status of an answer.
func (c *connection) answered(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if !c.away.IsZero() {
		c.log.Info("API server answers again", "after", now.Sub(c.away).Round(time.Millisecond).String())
		c.away = time.Time{}
		select {
		case c.back <- struct{}{}:
		default: // nobody has received it yet
		}
	}
	switch {
	case status != http.StatusUnauthorized:
		if c.told {
			c.log.Info("API server takes caject's token again", "after", now.Sub(c.rejected).Round(time.Second).String())
		}
		c.rejected, c.told = time.Time{}, false
	case c.rejected.IsZero():
		c.rejected = now
	case !c.told && now.Sub(c.rejected) >= rejectedAfter:
		c.told = true
		c.log.Error(errRejected, "Nothing can be read or written until the API server takes caject's token")
	}
}

// errRejected says what to do about a token that is rejected. A token holds the UID of its ServiceAccount.
var errRejected = errors.New("the API server rejects caject's token (401 Unauthorized). If its ServiceAccount was deleted, and made again under the same name " +
	"for example, the pods' tokens belong to one that is not there any more: restart the pods (kubectl --namespace NAMESPACE rollout restart deployment NAME)")

// Ready returns errRejected while the API server rejects caject's token, for a while already: a healthz.Checker. That the API server does
// not answer at all does not count: admission may still be answered when it does.
func (c *connection) Ready(*http.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told {
		return errRejected
	}
	return nil
}
