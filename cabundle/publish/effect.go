package publish

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

const (
	// ineffectiveMisses and ineffectiveAfter are how many times in a row, and over what time, no policy must have filled a target of a kind until
	// somebody is told: after an installation it takes the API server some seconds to evaluate policies.
	ineffectiveMisses, ineffectiveAfter = 3, 30 * time.Second
	// ineffectiveFor is for how long after the last of them that is served as a metric: nothing says that policies fill again before the next
	// target that they should fill.
	ineffectiveFor = time.Hour
)

// ineffective is what is served of the effects.
var ineffective = prometheus.NewDesc("caject_admission_policies_ineffective",
	"1 while admission policies do not fill targets of that kind, as far as this replica has found out within the last hour, else 0.",
	[]string{"kind"}, nil)

// effect is what is known of whether policies fill the targets of a kind. The zero value is that they do. Its methods are pure.
type effect struct {
	misses      int       // in a row
	first, last time.Time // when they were; zero if there is none
	said        bool      // somebody was told that they do not
}

// miss takes in that a target was not filled at now. tell says that this is to be told.
func (e effect) miss(now time.Time) (after effect, tell bool) {
	if e.misses == 0 {
		e.first = now
	}
	e.misses, e.last = e.misses+1, now
	tell = !e.said && e.misses >= ineffectiveMisses && now.Sub(e.first) >= ineffectiveAfter
	e.said = e.said || tell
	return e, tell
}

// served reports whether policies are said at now to fill nothing.
func (e effect) served(now time.Time) bool { return e.said && now.Sub(e.last) < ineffectiveFor }

// missed takes in that no policy has filled a target of a kind, and tells if that goes on.
func (p *Publisher) missed(ctx context.Context, ref cabundle.Reference, kind cabundle.Kind) {
	now := p.clock.Now()
	p.mu.Lock()
	p.failed[failure{ref, kind}] = p.failed[failure{ref, kind}].Fail(now, rest, rest)
	after, tell := p.effects[kind].miss(now)
	p.effects[kind] = after
	p.mu.Unlock()
	log.FromContext(ctx).V(1).Info("No admission policy fills the target; none is counted on for its kind and source for a while")
	if tell {
		log.FromContext(ctx).Info("The admission policies do not fill "+string(kind)+"s; caject fills them itself, after they were stored",
			"remedy", "if caject was uninstalled and installed again, or its policies were switched off and on: restart each API server, "+
				"which does not follow PodTemplates any more; else kubectl caject check finds the cause")
	}
}

// hit takes in that policies fill targets of a kind, and tells if they did not before.
func (p *Publisher) hit(ctx context.Context, kind cabundle.Kind) {
	p.mu.Lock()
	before := p.effects[kind]
	delete(p.effects, kind)
	p.mu.Unlock()
	if before.said {
		log.FromContext(ctx).Info("The admission policies fill " + string(kind) + "s again")
	}
}

// Describe implements [prometheus.Collector].
func (p *Publisher) Describe(descs chan<- *prometheus.Desc) { descs <- ineffective }

// Collect implements [prometheus.Collector].
func (p *Publisher) Collect(collected chan<- prometheus.Metric) {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, kind := range p.options.PolicyKinds {
		collected <- prometheus.MustNewConstMetric(ineffective, prometheus.GaugeValue, metrics.Number(p.effects[kind].served(now)), string(kind))
	}
}
