package certs

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// answer is an API server.
type answer func() (*http.Response, error)

func (a answer) RoundTrip(*http.Request) (*http.Response, error) { return a() }

func TestTheClocksAreCompared(t *testing.T) {
	for sentence, test := range map[string]struct {
		took  time.Duration // from request to answer
		ahead time.Duration // how far the local clock is, when the request is sent
		date  string        // if not the time of the answer
		err   error
		want  time.Duration // what is added to the local clock
		says  string        // part of the error; empty if there is none
	}{
		"they agree":                          {},
		"they agree, and the answer takes 3s": {took: 3 * time.Second},
		"ahead, a little":                     {ahead: 10 * time.Minute, want: -10*time.Minute + time.Second},
		"ahead":                               {ahead: 3 * time.Hour, want: -3*time.Hour + time.Second, says: "2h59m59s ahead of the API server's"},
		"behind, a little":                    {ahead: -10 * time.Minute, want: 10 * time.Minute},
		"behind":                              {ahead: -3 * time.Hour, want: 3 * time.Hour, says: "3h0m0s behind the API server's"},
		"ahead, and it took too long to tell": {ahead: 3 * time.Hour, took: time.Minute},
		"no Date":                             {ahead: 3 * time.Hour, date: "-"},
		"junk":                                {ahead: 3 * time.Hour, date: "yesterday"},
		"no answer":                           {ahead: 3 * time.Hour, err: errors.New("refused")},
	} {
		t.Run(sentence, func(t *testing.T) {
			local := clocktesting.NewFakeClock(now.Add(test.ahead))
			server := NewServerClock(local)
			date := now.Format(http.TimeFormat)
			if test.date != "" {
				date = strings.Trim(test.date, "-")
			}
			transport := server.Wrap(answer(func() (*http.Response, error) {
				local.Step(test.took)
				return &http.Response{Header: http.Header{"Date": {date}}}, test.err
			}))
			if _, err := transport.RoundTrip(nil); !errors.Is(err, test.err) {
				t.Error(err)
			}
			if got := server.Now().Sub(local.Now()); got != test.want {
				t.Errorf("the offset is %s, not %s", got, test.want)
			}
			if err := server.check(); (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want …%s…", err, test.says)
			}
		})
	}
}

func TestAClockThatWasSetIsBelieved(t *testing.T) {
	local := clocktesting.NewFakeClock(now.Add(3 * time.Hour))
	server := NewServerClock(local)
	transport := server.Wrap(answer(func() (*http.Response, error) {
		return &http.Response{Header: http.Header{"Date": {now.Format(http.TimeFormat)}}}, nil
	}))
	for _, at := range []time.Time{now.Add(3 * time.Hour), now} {
		local.SetTime(at)
		if _, err := transport.RoundTrip(nil); err != nil {
			t.Fatal(err)
		}
		if err := server.check(); (err == nil) != at.Equal(now) {
			t.Errorf("the local clock is at %v: %v", at, err)
		}
	}
}
