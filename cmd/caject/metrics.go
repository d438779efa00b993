package main

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/caject/caject/cabundle/lead"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/resync"
	"github.com/caject/caject/certs"
	"github.com/caject/caject/internal/health"
	"github.com/caject/caject/internal/metricsauth"
)

// metricsTrustDelay is for how long a new CA is in ca.crt until it signs. The kubelet brings a mounted Secret up to date within some two
// minutes, and an operator that copies it adds its own time.
const metricsTrustDelay = 10 * time.Minute

// certificates is a runnable that hands out a serving certificate.
type certificates interface {
	manager.Runnable
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// source returns what serves the certificate, or nil if m asks for none.
func (m *metricsTLS) source(api *clients, caLifetime time.Duration) (certificates, error) {
	switch {
	case m.fromFiles():
		watcher, err := certwatcher.New(m.certFile, m.keyFile)
		if err != nil {
			return nil, fmt.Errorf("serve metrics over TLS: %w", err)
		}
		return watcher, nil
	case m.fromSecret():
		lifetime := max(caLifetime, m.leafDuration)
		return certs.NewKeeper(certs.Options{
			Secret:       types.NamespacedName{Namespace: m.secretNamespace, Name: m.secretName},
			Names:        m.dnsNames,
			CALifetime:   lifetime,
			LeafLifetime: m.leafDuration,
			TrustDelay:   min(metricsTrustDelay, lifetime/12), // a CA has a third of its life for the change
			Clock:        api.serverClock,
			Events:       api.events,
		}, api.objects, nil, clock.RealClock{}), nil
	}
	return nil, nil
}

// registerStates has r serve what the parts know at the time of the call: those of this process, and resyncer's of targets and sources.
func registerStates(r prometheus.Registerer, leader *lead.Lead, keeper *certs.Keeper, serves bool, probes *health.Probes, resyncer *resync.Resync) {
	process := metrics.Process{Version: moduleVersion(), Leads: leader.Holds, Ready: probes.IsReady}
	if serves {
		process.LeafExpiry = keeper.Expiry
	}
	r.MustRegister(process, resyncer)
}

// addMetricsServer serves /metrics, unless it is switched off.
func addMetricsServer(mgr manager.Manager, o *options, api *clients) error {
	if o.metricsListenAddress == "0" {
		return nil
	}
	options := metricsserver.Options{BindAddress: o.metricsListenAddress}
	source, err := o.metricsTLS.source(api, o.caLifetime)
	if err != nil {
		return err
	}
	if source != nil {
		options.SecureServing = true
		options.TLSOpts = []func(*tls.Config){o.metricsTLS.configure, func(c *tls.Config) { c.GetCertificate = source.GetCertificate }}
		if err := mgr.Add(source); err != nil {
			return err
		}
	}
	if o.metricsTLS.authorized {
		options.FilterProvider = metricsauth.NewFilter
	}
	server, err := metricsserver.NewServer(options, mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	return mgr.Add(server)
}
