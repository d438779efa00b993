// Package metrics counts what caject does. The counters are served beside those of controller-runtime.
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
	Resync    Path = "resync"
)

// Metrics are caject's own counters.
type Metrics struct {
	injections *prometheus.CounterVec
	refusals   *prometheus.CounterVec
}

// New registers the counters with r.
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
	}
	r.MustRegister(m.injections, m.refusals)
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
