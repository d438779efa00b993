package playground

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Quiet says what caject may ask of the API server while nothing changes: each replica reads each source once per interval,
// renews its Lease, and writes nothing else.
type Quiet struct {
	// Replicas is how many caject run.
	Replicas int
	// Interval is their --resync-interval.
	Interval time.Duration
	// SecureMetrics says that metrics are served to those who may read them: caject asks the API server who they are.
	SecureMetrics bool
	// Standstills, if set, returns how often replicas have found so far that they stood still: a machine that pauses has them read all sources
	// once more.
	Standstills func() int
	stood       int // how often that was in the span
}

// ownInterval is how often each replica reads the Secret with its own CA besides, to see whether it is to be rotated.
const ownInterval = 10 * time.Second

// Silence is what was seen while nothing changed.
type Silence struct {
	// Span is for how long.
	Span time.Duration
	// Writes is how many requests were writes that are not allowed.
	Writes int
	// Reads is how often the source that was read most often was, besides that of caject's own CA; Source is which.
	Reads  int
	Source string
	// Rate is the same per replica and interval, or in the span if that is shorter.
	Rate float64
}

// String sums it up in one line.
func (s Silence) String() string {
	return fmt.Sprintf("%d writes in %s of quiet; %s was read most often, %d times: %.2f per replica and interval",
		s.Writes, s.Span.Round(time.Second), s.Source, s.Reads, s.Rate)
}

// Watch lets span pass, and judges what caject asked meanwhile. The error says what it should not have asked.
func (q Quiet) Watch(ctx context.Context, c *ControlPlane, span time.Duration) (Silence, error) {
	standstills := q.Standstills
	if standstills == nil {
		standstills = func() int { return 0 }
	}
	before := standstills()
	from, err := c.Mark()
	if err != nil {
		return Silence{}, err
	}
	if err := Sleep(ctx, span); err != nil {
		return Silence{}, err
	}
	q.stood = standstills() - before
	to, err := c.Mark()
	if err != nil {
		return Silence{}, err
	}
	// What was asked just now is in the log once it is answered.
	if err := Sleep(ctx, time.Second); err != nil {
		return Silence{}, err
	}
	requests, err := c.Requests(from, to)
	if err != nil {
		return Silence{}, err
	}
	return q.Judge(requests, to.At.Sub(from.At))
}

// Settle returns once caject has written nothing for as long as calm. Not to come to rest within patience is no error here:
// Watch will tell.
func (q Quiet) Settle(ctx context.Context, c *ControlPlane, calm, patience time.Duration) error {
	began := time.Now()
	from, err := c.Mark()
	if err != nil {
		return err
	}
	for time.Since(began) < patience {
		requests, err := c.Requests(from, Mark{})
		if err != nil {
			return err
		}
		last := from.At
		for _, request := range requests {
			if q.forbidden(request) {
				last = request.At
			}
		}
		if time.Since(last) >= calm {
			return nil
		}
		if err := Sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// Sleep waits for d, or until ctx ends: then the error is that of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Eventually returns once condition does nil, asked each time after pause; its last error when limit is over, or ctx ends.
func Eventually(ctx context.Context, limit, pause time.Duration, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil || Sleep(ctx, pause) != nil {
			return err
		}
	}
}

// Judge says what came of requests, those of a span. The error names each object that caject should not have asked for, or not
// that often.
func (q Quiet) Judge(requests []Request, span time.Duration) (Silence, error) {
	s := Silence{Span: span}
	wrong, reads := map[string][]Request{}, map[string][]Request{}
	for _, request := range requests {
		switch {
		case q.forbidden(request):
			key := request.Verb + " " + request.Object()
			wrong[key] = append(wrong[key], request)
			if IsWrite(request.Verb) {
				s.Writes++
			}
		case isSource(request):
			reads[request.Object()] = append(reads[request.Object()], request)
		}
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(wrong)) {
		errs = append(errs, fmt.Errorf("%s: %s", key, times(wrong[key])))
	}
	for _, source := range slices.Sorted(maps.Keys(reads)) {
		own := isOwn(reads[source][0])
		if n := len(reads[source]); !own && n > s.Reads {
			s.Reads, s.Source = n, source
		}
		if most := q.most(span, own); len(reads[source]) > most {
			errs = append(errs, fmt.Errorf("get %s: %s, where %d would do", source, times(reads[source]), most))
		}
	}
	s.Rate = float64(s.Reads) / (float64(q.Replicas) * max(1, span.Seconds()/q.Interval.Seconds()))
	if len(errs) > 0 {
		return s, fmt.Errorf("in %s in which nothing changed, caject (%d replicas, an interval of %s) asked of the API server:\n%w",
			span.Round(time.Second), q.Replicas, q.Interval, errors.Join(errs...))
	}
	return s, nil
}

// most is how often all replicas together may read one source within span. Between two reads a replica waits for the interval or
// longer, so that it reads at most once more than intervals fit in.
func (q Quiet) most(span time.Duration, own bool) int {
	n := int(span/q.Interval) + 1
	if own {
		n += int(span/ownInterval) + 1
	}
	return q.Replicas*n + q.stood
}

// forbidden reports whether nothing but a change could justify the request.
func (q Quiet) forbidden(r Request) bool {
	switch {
	case isSecretOrCertificate(r) && (r.Verb == "list" || r.Verb == "watch"):
		return true
	case !IsWrite(r.Verb):
		return false
	case r.Group == "coordination.k8s.io" && r.Resource == "leases" && r.Namespace == Namespace:
		return false
	case r.Resource == "tokenreviews" || r.Resource == "subjectaccessreviews":
		return !q.SecureMetrics
	}
	return true
}

// IsWrite reports whether a verb is one that changes an object, or would.
func IsWrite(verb string) bool { return verb != "get" && verb != "list" && verb != "watch" }

func isSource(r Request) bool { return r.Verb == "get" && isSecretOrCertificate(r) }

func isSecretOrCertificate(r Request) bool {
	return r.Group == "" && r.Resource == "secrets" || r.Group == "cert-manager.io" && r.Resource == "certificates"
}

// isOwn reports whether a source is one that caject keeps its own CAs in.
func isOwn(r Request) bool { return r.Resource == "secrets" && r.Namespace == Namespace }

// times says how often something was asked, when, and what was answered.
func times(requests []Request) string {
	const layout = "15:04:05.000"
	codes := map[int]bool{}
	for _, request := range requests {
		codes[request.Code] = true
	}
	answers := strings.Trim(fmt.Sprint(slices.Sorted(maps.Keys(codes))), "[]")
	if len(requests) == 1 {
		return fmt.Sprintf("once, at %s (answered %s)", requests[0].At.Local().Format(layout), answers)
	}
	return fmt.Sprintf("%d times, from %s to %s (answered %s)", len(requests),
		requests[0].At.Local().Format(layout), requests[len(requests)-1].At.Local().Format(layout), answers)
}
