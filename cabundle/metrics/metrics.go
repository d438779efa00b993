// Package metrics counts what caject does. docs/metrics.md lists all that is served; a test compares the two.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caject/caject/cabundle"
)

// Path is the way by which a bundle reaches a target.
type Path string

// The ways.
const (
	Admission Path = "admission"
	Policy    Path = "policy"
	Hint      Path = "hint"
	Resync    Path = "resync"
)

// Metrics are caject's own counters. (The state of each target is collected by package resync, which knows it.)
type Metrics struct {
	injections *prometheus.CounterVec
	refusals   *prometheus.CounterVec
	reads      *prometheus.CounterVec
	handshakes prometheus.Counter
	unused     prometheus.Gauge
}

// New registers the metrics with r.
func New(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		injections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caject_injections_total",
			Help: "Objects whose caBundle was filled or changed, by path and kind.",
		}, []string{"path", "kind"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caject_refusals_total",
			Help: "Attempts that left an annotated object as it was, by path and reason.",
		}, []string{"path", "reason"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caject_source_reads_total",
			Help: "Sources that were read, by path and by reason why they gave nothing (empty if they did).",
		}, []string{"path", "reason"}),
		handshakes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "caject_webhook_failed_handshakes_total",
			Help: "TLS handshakes with callers of the webhook that failed.",
		}),
		unused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "caject_admission_policies_unused",
			Help: "1 if the API server serves MutatingAdmissionPolicies that the chart was rendered without.",
		}),
	}
	r.MustRegister(m.injections, m.refusals, m.reads, m.handshakes, m.unused)
	return m
}

// Injected counts an object that was filled.
func (m *Metrics) Injected(path Path, kind cabundle.Kind) {
	m.injections.WithLabelValues(string(path), string(kind)).Inc()
}

// Refused counts an object that was not filled.
func (m *Metrics) Refused(path Path, reason cabundle.Reason) {
	m.refusals.WithLabelValues(string(path), string(reason)).Inc()
}

// SourceRead counts a source that was read; problem is why it gave nothing, or nil.
func (m *Metrics) SourceRead(path Path, problem *cabundle.Problem) {
	reason := cabundle.Reason("")
	if problem != nil {
		reason = problem.Reason
	}
	m.reads.WithLabelValues(string(path), string(reason)).Inc()
}

// HandshakeFailed counts a TLS handshake with a caller of the webhook that failed.
func (m *Metrics) HandshakeFailed() { m.handshakes.Inc() }

// PoliciesUnused takes in whether the API server serves admission policies that the chart was rendered without.
func (m *Metrics) PoliciesUnused(unused bool) { m.unused.Set(Number(unused)) }
