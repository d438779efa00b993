package webhook

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// failuresTold is how many TLS handshakes must fail, and failingFor for how long, with no request in between, until somebody is told:
	// anybody who reaches the port can fail once.
	failuresTold = 3
	failingFor   = 10 * time.Second
	// handshakeError is how net/http begins what it logs of a handshake.
	handshakeError = "http: TLS handshake error from "
)

// handshakes knows of TLS handshakes that fail, by what net/http logs of them: there is no other way to learn of them. One counts if the
// caller speaks TLS; connections that end before, or are of something else, are those of load balancers and port scanners.
type handshakes struct {
	failed func() // called for each that counts
	clock  clock.PassiveClock
	log    logr.Logger

	mu    sync.Mutex // guards what follows
	count int        // in a row
	began time.Time  // when the first of them was
	last  string     // error of the last one
	told  bool
}

func newHandshakes(failed func(), c clock.PassiveClock) *handshakes {
	if failed == nil {
		failed = func() {}
	}
	return &handshakes{failed: failed, clock: c, log: log.Log}
}

// Write takes in a line that net/http logs: it is the output of the server's ErrorLog.
func (h *handshakes) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	from, err, ok := cutHandshake(text)
	if !ok {
		h.log.V(1).Info(text)
		return len(line), nil
	}
	h.log.V(1).Info("TLS handshake failed", "from", from, "error", err)
	if !strings.Contains(err, "tls: ") || strings.Contains(err, "does not look like a TLS handshake") {
		return len(line), nil
	}
	h.failed()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Now()
	if h.count == 0 {
		h.began = now
	}
	h.count++
	h.last = err
	if !h.told && h.count >= failuresTold && now.Sub(h.began) >= failingFor {
		h.told = true
		h.log.Info("TLS handshakes of callers fail, and none succeeds; the API server may be among them",
			"from", from, "error", err, "times", h.count, "remedy", remedyOf(err))
	}
	return len(line), nil
}

// cutHandshake returns who has failed in a handshake, as host:port, and why.
func cutHandshake(line string) (from, err string, ok bool) {
	rest, ok := strings.CutPrefix(line, handshakeError)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ": ")
}

// served takes in that a handshake has succeeded and a request has come.
func (h *handshakes) served() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told {
		h.log.Info("TLS handshakes of callers succeed again")
	}
	h.count, h.told = 0, false
}

// trouble returns why the last handshakes have failed, and what to do; empty if the last one has succeeded.
func (h *handshakes) trouble() (cause, remedy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == 0 {
		return "", ""
	}
	return "TLS handshakes fail: " + h.last, remedyOf(h.last)
}

// remedyOf says what to do about a handshake that failed with err, a text of crypto/tls.
func remedyOf(err string) string {
	switch {
	case strings.Contains(err, "version"):
		return "the caller speaks only older versions of TLS: lower --tls-min-version (the chart's webhook.tlsMinVersion), or have the caller speak newer ones"
	case strings.Contains(err, "remote error: ") && strings.Contains(err, "certificate"), strings.Contains(err, "unknown certificate authority"):
		return "the caller does not trust the certificate: see that the host of webhook.url is one of --serving-names, that nothing else writes the caBundle of " +
			"caject's own configurations, and that no proxy stands in between"
	case strings.Contains(err, "failed to verify certificate"):
		return "the caller's client certificate is not one of --client-ca-file"
	}
	return "caller and caject have no version, cipher suite or curve of TLS in common: see --tls-min-version and the FIPS settings of both"
}
