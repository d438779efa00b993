package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// result is what came of the tests on one version.
type result struct {
	version string
	took    time.Duration
	// server and policies are what the API server says of itself, and the kinds that the policies fill.
	server, policies string
	// tests and passed do not count subtests.
	tests, passed int
}

// says begins the line by which TestThereArePoliciesWhereTheyAreServed tells of the API server: "… v1.30.14; policies fill no kind".
const says, fill = "the API server is ", "; policies fill "

// read returns what go test -json has written.
func read(events io.Reader) (*result, error) {
	r := &result{}
	decoder := json.NewDecoder(events)
	for {
		var event struct{ Action, Test, Output string }
		switch err := decoder.Decode(&event); {
		case errors.Is(err, io.EOF):
			return r, nil
		case err != nil:
			return nil, err
		}
		if _, said, ok := strings.Cut(event.Output, says); ok {
			r.server, r.policies, _ = strings.Cut(strings.TrimSpace(said), fill)
		}
		if event.Test == "" || strings.Contains(event.Test, "/") {
			continue
		}
		switch event.Action {
		case "run":
			r.tests++
		case "pass":
			r.passed++
		}
	}
}
