package main

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The API server's own metrics, by webhook.
const (
	failedOpen = "apiserver_admission_webhook_fail_open_count"
	requests   = "apiserver_admission_webhook_request_total"
)

// metrics reads those that the API server has of itself; of several it is the one that answers.
func (e *examination) metrics(ctx context.Context) (string, error) {
	raw, err := e.api.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	return string(raw), err
}

// sample matches one line of a metric, as Prometheus' text format has it.
var (
	sample  = regexp.MustCompile(`^([a-z_]+)\{([^}]*)\} ([0-9.e+]+)$`)
	labelOf = regexp.MustCompile(`(?:^|,)name="([^"]*)"`)
)

// sum adds up a counter over all lines whose label name is one of names.
func sum(metrics, counter string, names []string) (total float64, there bool) {
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, counter+"{") {
			continue
		}
		parts := sample.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil {
			continue
		}
		name := labelOf.FindStringSubmatch(parts[2])
		value, err := strconv.ParseFloat(parts[3], 64)
		if name == nil || err != nil || !slices.Contains(names, name[1]) {
			continue
		}
		total, there = total+value, true
	}
	return total, there
}

func webhooksOf(callers []caller, wanted func(name string) bool) []string {
	var names []string
	for i := range callers {
		if name := callers[i].webhook; wanted(name) {
			names = append(names, name)
		}
	}
	return names
}

func isHint(name string) bool { return strings.HasSuffix(name, ".hint.caject.io") }

// judgeHints says whether the API server tells caject of sources that change. Without metrics, how often it did is not known.
func judgeHints(i *installation, callers []caller, err error, metrics string) verdict {
	const check = "hints"
	if i.flag("hint-configuration") == "" {
		interval := i.flag("resync-interval")
		if interval == "" {
			interval = "resyncInterval"
		}
		return warn(check, "how-it-works.md#without-some-of-it", "they are off: a rotated CA is noticed within %s", interval)
	}
	if err != nil {
		return unread(check, err)
	}
	names := webhooksOf(callers, isHint)
	if len(names) == 0 {
		return fail(check, "how-it-works.md", "ValidatingWebhookConfiguration %s is not there, or empty: a rotated CA is noticed within %s; helm upgrade installs it",
			i.flag("hint-configuration"), i.flag("resync-interval"))
	}
	by := strings.Join(names, " and ")
	lost, _ := sum(metrics, failedOpen, names)
	switch calls, called := sum(metrics, requests, names); {
	case called && lost > 0:
		return warn(check, notReached, "on, by %s: %.0f of %.0f since the API server was started were lost", by, lost, calls)
	case called:
		return ok(check, "on, by %s: %.0f since the API server was started, none of them lost", by, calls)
	}
	return ok(check, "on, by %s", by)
}

// judgeFailingOpen says how many requests the API server let go on without caject's answer.
func judgeFailingOpen(callers []caller, callersErr error, metrics string, err error) verdict {
	const check = "calls that failed"
	if callersErr != nil {
		return unread(check, callersErr)
	}
	if err != nil {
		return unread(check, err)
	}
	names := webhooksOf(callers, func(string) bool { return true })
	if n, _ := sum(metrics, failedOpen, names); n > 0 {
		return warn(check, "troubleshooting.md#cajectfailingopen", "the API server let %.0f requests go on without caject's answer since it was started", n)
	}
	return ok(check, "none since the API server was started")
}
