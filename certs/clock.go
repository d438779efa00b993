package certs

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// tolerance is how far the local clock may be from the API server's. A certificate begins backdate before it is made: half of
// that is for clocks of ours that are wrong, the other half for those of callers.
const tolerance = backdate / 2

// ServerClock tells the time by the API server's clock, which it knows from the Date of the API server's answers. Callers are API
// servers: a certificate is valid when it is valid by their clock.
//
// If the two clocks are far apart, one of them is wrong, and nobody can say which: then nothing should be made, see check. A
// certificate made by a clock that is ahead is of no use to anybody else until real time gets there.
type ServerClock struct {
	local clock.PassiveClock
	// ahead is by how much the API server's clock is ahead of local, in nanoseconds; zero until an answer tells.
	ahead atomic.Int64
}

// NewServerClock returns a ServerClock that is taken to agree with local until an answer tells otherwise.
func NewServerClock(local clock.PassiveClock) *ServerClock { return &ServerClock{local: local} }

// Wrap returns a transport that compares the clocks at each answer over next: for rest.Config's Wrap.
func (c *ServerClock) Wrap(next http.RoundTripper) http.RoundTripper {
	return &comparing{clock: c, next: next}
}

// Now returns the time by the API server's clock.
func (c *ServerClock) Now() time.Time { return c.local.Now().Add(c.offset()) }

// check returns an error if the clocks are so far apart that nothing should be made by either.
func (c *ServerClock) check() error {
	offset, direction := c.offset(), "behind"
	if offset < 0 {
		offset, direction = -offset, "ahead of"
	}
	if offset <= tolerance {
		return nil
	}
	return fmt.Errorf("this machine's clock is %s %s the API server's, and no certificate is made while they are more than %s apart: "+
		"set the one that is wrong, with NTP for example", offset.Round(time.Second), direction, tolerance)
}

func (c *ServerClock) offset() time.Duration { return time.Duration(c.ahead.Load()) }

// comparing is a transport that compares the clocks at each answer.
type comparing struct {
	clock *ServerClock
	next  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *comparing) RoundTrip(request *http.Request) (*http.Response, error) {
	sent := t.clock.local.Now()
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return response, err
	}
	received := t.clock.local.Now()
	date, dateErr := http.ParseTime(response.Header.Get("Date"))
	if dateErr == nil && received.Sub(sent) <= requestTimeout { // an answer that took long says little
		t.clock.ahead.Store(int64(offsetOf(sent, received, date)))
	}
	return response, nil
}

// offsetOf returns by how much the clock that dated an answer is ahead of the one that tells when the request was sent and
// the answer received: the least that is possible. The answer was dated between the two, and a Date has whole seconds.
func offsetOf(sent, received, date time.Time) time.Duration {
	if least := date.Sub(received); least > 0 {
		return least
	}
	if most := date.Add(time.Second).Sub(sent); most < 0 {
		return most
	}
	return 0
}
