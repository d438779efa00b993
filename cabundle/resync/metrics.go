package resync

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

var (
	targetState = prometheus.NewDesc("caject_target_state",
		"1 for the state of each annotated object: injected, refused (with the reason), idle (it has no place for a caBundle) or pending (not looked at yet).",
		[]string{"kind", "name", "state", "reason"}, nil)
	targetContested = prometheus.NewDesc("caject_target_contested",
		"1 for each annotated object whose caBundle another field manager keeps changing back, or emptying.",
		[]string{"kind", "name", "manager"}, nil)
	bundleExpiry = prometheus.NewDesc("caject_bundle_expiry_timestamp_seconds",
		"When the first certificate of a referenced source expires, if an object can hold it.",
		[]string{"source"}, nil)
	lastAnswer = prometheus.NewDesc("caject_resync_last_success_timestamp_seconds",
		"When the API server last answered about a referenced source, or there was none to ask about.",
		nil, nil)
	webhookUnreached = prometheus.NewDesc("caject_webhook_unreached",
		"1 while the API server does not reach caject's webhook, as far as this replica has found out, else 0.",
		nil, nil)
)

// Describe implements [prometheus.Collector].
func (r *Resync) Describe(descs chan<- *prometheus.Desc) {
	descs <- targetState
	descs <- targetContested
	descs <- bundleExpiry
	descs <- lastAnswer
	descs <- webhookUnreached
}

// Collect implements [prometheus.Collector]: it says what is known at the time of the call, so that nothing stays behind
// of a target that is gone.
func (r *Resync) Collect(collected chan<- prometheus.Metric) {
	now, injectable := r.clock.Now(), sets.New[cabundle.Reference]()
	for target, s := range r.tracker.snapshot() {
		if s.seen.invalid == nil && !s.idle() {
			injectable.Insert(s.seen.ref)
		}
		word, reason := "injected", ""
		switch {
		case !s.looked.known:
			word = "pending"
		case s.idle():
			word, reason = "idle", string(s.looked.problem.Reason)
		case s.looked.problem != nil:
			word, reason = "refused", string(s.looked.problem.Reason)
		}
		collected <- prometheus.MustNewConstMetric(targetState, prometheus.GaugeValue, 1, string(target.Kind), target.Name, word, reason)
		if s.contest.manager != "" && !s.contest.quiet(now, r.options.Interval) {
			collected <- prometheus.MustNewConstMetric(targetContested, prometheus.GaugeValue, 1, string(target.Kind), target.Name, s.contest.manager)
		}
	}
	collected <- prometheus.MustNewConstMetric(lastAnswer, prometheus.GaugeValue, float64(r.ledger.Answered().UnixMilli())/1000)
	collected <- prometheus.MustNewConstMetric(webhookUnreached, prometheus.GaugeValue, metrics.Number(r.webhook.now().said))
	for ref, at := range r.ledger.Expiries() {
		if injectable.Has(ref) { // else nobody would miss it
			collected <- prometheus.MustNewConstMetric(bundleExpiry, prometheus.GaugeValue, float64(at.Unix()), ref.String())
		}
	}
}
