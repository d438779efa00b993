package main

import (
	"crypto/tls"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/caject/caject/certs"
	"github.com/caject/caject/internal/metricsauth"
)

// certificates is a runnable that hands out a serving certificate.
type certificates interface {
	manager.Runnable
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// source returns what serves the certificate, or nil if m asks for none. c is not backed by a cache.
func (m *metricsTLS) source(c client.Client, caLifetime time.Duration, events record.EventRecorder, serverClock *certs.ServerClock) (certificates, error) {
	switch {
	case m.fromFiles():
		watcher, err := certwatcher.New(m.certFile, m.keyFile)
		if err != nil {
			return nil, fmt.Errorf("serve metrics over TLS: %w", err)
		}
		return watcher, nil
	case m.fromSecret():
		return certs.NewKeeper(certs.Options{
			Secret:       types.NamespacedName{Namespace: m.secretNamespace, Name: m.secretName},
			Names:        m.dnsNames,
			CALifetime:   max(caLifetime, m.leafDuration),
			LeafLifetime: m.leafDuration,
			Clock:        serverClock,
			Events:       events,
		}, c, nil, clock.RealClock{}), nil
	}
	return nil, nil
}

// addMetricsServer serves /metrics, unless it is switched off. c is not backed by a cache.
func addMetricsServer(mgr manager.Manager, o *options, c client.Client, events record.EventRecorder, serverClock *certs.ServerClock) error {
	if o.metricsListenAddress == "0" {
		return nil
	}
	options := metricsserver.Options{BindAddress: o.metricsListenAddress}
	source, err := o.metricsTLS.source(c, o.caLifetime, events, serverClock)
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
