package main

import (
	"context"
	"fmt"
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
	raw, err := e.raw(ctx, "/metrics")
	return string(raw), err
}

// raw reads a path of the API server. (DoRaw alone drops what it says of an error.)
func (e *examination) raw(ctx context.Context, path ...string) ([]byte, error) {
	result := e.api.Discovery().RESTClient().Get().AbsPath(path...).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
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
func judgeHints(i *installation, metrics string) verdict {
	const check = "hints"
	if i.flag("hint-configuration") == "" {
		interval := i.flag("resync-interval")
		if interval == "" {
			interval = "resyncInterval"
		}
		return warn(check, "how-it-works.md#without-some-of-it", "they are off: a rotated CA is noticed within %s", interval)
	}
	if i.callersErr != nil {
		return unread(check, i.callersErr)
	}
	names := webhooksOf(i.callers, isHint)
	if len(names) == 0 {
		return fail(check, "how-it-works.md", "ValidatingWebhookConfiguration %s is not there, or empty: a rotated CA is noticed within %s; helm upgrade installs it",
			i.flag("hint-configuration"), i.flag("resync-interval"))
	}
	by := "on, by " + strings.Join(names, " and ")
	total, counted := callsOf(metrics, names)
	switch {
	case !counted:
		return ok(check, "%s", by)
	case total.many():
		return warn(check, notReached, "%s; %s", by, total)
	}
	return ok(check, "%s; %s", by, total)
}

// calls are those of some webhooks since the API server was started.
type calls struct{ made, lost float64 }

func callsOf(metrics string, names []string) (calls, bool) {
	made, counted := sum(metrics, requests, names)
	lost, _ := sum(metrics, failedOpen, names)
	return calls{made, lost}, counted
}

func (c calls) String() string {
	return fmt.Sprintf("of %.0f calls since the API server was started %.0f failed", c.made, c.lost)
}

// many reports whether more calls have failed than those around an install, for example while kube-proxy had not heard of the pods: a hundred,
// and one in a hundred.
func (c calls) many() bool { return c.lost >= 100 && c.lost >= c.made/100 }

// judgeFailingOpen says how many requests the API server let go on without caject's answer; before and after are its metrics before and after
// it was asked to call the webhook.
func judgeFailingOpen(i *installation, before, after string, err error) verdict {
	const check, page = "calls", "troubleshooting.md#cajectfailingopen"
	if err == nil {
		err = i.callersErr
	}
	if err != nil {
		return unread(check, err)
	}
	names := webhooksOf(i.callers, func(string) bool { return true })
	former, _ := callsOf(before, names)
	total, _ := callsOf(after, names)
	switch {
	case total.lost > former.lost:
		return warn(check, page, "%s, %.0f of them now: such requests go on unfilled, and wait for it", total, total.lost-former.lost)
	case total.many():
		return warn(check, page, "%s: such requests went on unfilled, and waited for it", total)
	}
	return ok(check, "%s", total)
}
