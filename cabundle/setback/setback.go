// Package setback says when something that has failed is tried again: after a while that doubles with each failure in a row. It is for
// helpers that are nice to have, such as an admission policy or the webhook: meanwhile they are not counted on. A wait that
// somebody sleeps through is one for wait.Backoff of k8s.io/apimachinery.
package setback

import "time"

// Setback is what is known of something that has failed. The zero value is that of something that has not. Its methods are pure.
type Setback struct {
	last time.Time     // when the last failure was; zero if there was none
	wait time.Duration // from then until it is tried again
}

// Fail returns the Setback after one more failure at now. The first wait is first; it doubles up to longest.
func (s Setback) Fail(now time.Time, first, longest time.Duration) Setback {
	return Setback{last: now, wait: min(max(2*s.wait, first), longest)}
}

// None reports whether there was no failure.
func (s Setback) None() bool { return s.last.IsZero() }

// Left returns how long it is until it is tried again; 0 or less if that is now. It is never more than the wait: if the clock has gone back,
// nobody knows how much of it is over, and that is now, too.
func (s Setback) Left(now time.Time) time.Duration {
	if s.None() || now.Before(s.last) {
		return 0
	}
	return s.wait - now.Sub(s.last)
}
