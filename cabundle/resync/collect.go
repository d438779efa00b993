package resync

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caject/caject/cabundle"
)

var (
	targetState = prometheus.NewDesc("caject_target_state",
		"1 for the state of each annotated object: injected, refused (with the reason) or pending (not looked at yet).",
		[]string{"kind", "name", "state", "reason"}, nil)
	targetContested = prometheus.NewDesc("caject_target_contested",
		"1 for each annotated object whose caBundle another field manager keeps changing back.",
		[]string{"kind", "name", "manager"}, nil)
	bundleExpiry = prometheus.NewDesc("caject_bundle_expiry_timestamp_seconds",
		"When the first certificate of a referenced source expires.",
		[]string{"source"}, nil)
)

// Describe implements [prometheus.Collector].
func (r *Resync) Describe(descs chan<- *prometheus.Desc) {
	descs <- targetState
	descs <- targetContested
	descs <- bundleExpiry
}

// Collect implements [prometheus.Collector]: it says what is known at the time of the call, so that nothing stays behind
// of a target that is gone.
func (r *Resync) Collect(metrics chan<- prometheus.Metric) {
	expiries := map[cabundle.Reference]time.Time{}
	for target, s := range r.tracker.snapshot() {
		word := "injected"
		switch {
		case !s.looked:
			word = "pending"
		case s.problem != "":
			word = "refused"
		}
		metrics <- prometheus.MustNewConstMetric(targetState, prometheus.GaugeValue, 1, string(target.Kind), target.Name, word, string(s.problem))
		if s.contest.manager != "" && !s.contest.quiet(r.clock.Now(), r.options.Interval) {
			metrics <- prometheus.MustNewConstMetric(targetContested, prometheus.GaugeValue, 1, string(target.Kind), target.Name, s.contest.manager)
		}
		// Of two that looked at different times, the later expiry is that of the source as it is now.
		if s.sourceExpiry.After(expiries[s.ref]) {
			expiries[s.ref] = s.sourceExpiry
		}
	}
	for ref, at := range expiries {
		metrics <- prometheus.MustNewConstMetric(bundleExpiry, prometheus.GaugeValue, float64(at.Unix()), ref.String())
	}
}
