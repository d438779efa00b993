package main

import (
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// What its configuration file calls itself.
const (
	configAPIVersion = "cainjector.config.cert-manager.io/v1alpha1"
	configKind       = "CAInjectorConfiguration"
)

// The feature gates of cert-manager's cainjector.
const (
	gateMerging         = "CAInjectorMerging"
	gateServerSideApply = "ServerSideApply"
)

// cainjectorOptions are there for the sake of cert-manager's cainjector alone, whose place caject can take.
type cainjectorOptions struct {
	config         string
	featureGates   map[string]string
	flushFrequency time.Duration // without effect
}

func (c *cainjectorOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.config, "config", c.config,
		"File with a "+configKind+" (of "+configAPIVersion+"). Flags take precedence over the file.")
	flags.StringToStringVar(&c.featureGates, "feature-gates", c.featureGates,
		gateMerging+"=false replaces the content of a caBundle with the source, instead of keeping unexpired certificates. "+
			gateServerSideApply+" has no effect.")
	flags.DurationVar(&c.flushFrequency, "log-flush-frequency", c.flushFrequency, "No effect: caject writes each line at once.")
}

func (c *cainjectorOptions) validate(wrong *mistakes) {
	for gate, value := range c.featureGates {
		if !slices.Contains([]string{gateMerging, gateServerSideApply, "AllAlpha", "AllBeta"}, gate) {
			wrong.add("feature-gates", "there is no gate %q", gate)
		}
		if _, err := strconv.ParseBool(value); err != nil {
			wrong.add("feature-gates", "%s: %q is neither true nor false", gate, value)
		}
	}
}

// replaces reports whether a source's certificates take the place of those that a caBundle holds already.
func (c *cainjectorOptions) replaces() bool {
	merging, err := strconv.ParseBool(c.featureGates[gateMerging])
	return err == nil && !merging
}

// fieldFlags says which flag each field of a CAInjectorConfiguration stands for. The fields are those of cert-manager's
// own cainjector, but for those of logging that set up klog, which caject does not use.
var fieldFlags = map[string]string{
	"kubeConfig":           "kubeconfig",
	"namespace":            "namespace",
	"ignoreNamespaces":     "ignore-namespaces",
	"enablePprof":          "enable-profiling",
	"pprofAddress":         "profiler-address",
	"metricsListenAddress": "metrics-listen-address",
	"featureGates":         "feature-gates",

	"leaderElectionConfig.enabled":       "leader-elect",
	"leaderElectionConfig.namespace":     "leader-election-namespace",
	"leaderElectionConfig.leaseDuration": "leader-election-lease-duration",
	"leaderElectionConfig.renewDeadline": "leader-election-renew-deadline",
	"leaderElectionConfig.retryPeriod":   "leader-election-retry-period",

	"enableDataSourceConfig.certificates":                    "enable-certificates-data-source",
	"enableInjectableConfig.validatingWebhookConfigurations": "enable-validatingwebhookconfigurations-injectable",
	"enableInjectableConfig.mutatingWebhookConfigurations":   "enable-mutatingwebhookconfigurations-injectable",
	"enableInjectableConfig.customResourceDefinitions":       "enable-customresourcedefinitions-injectable",
	"enableInjectableConfig.apiServices":                     "enable-apiservices-injectable",

	"metricsTLSConfig.cipherSuites":            "metrics-tls-cipher-suites",
	"metricsTLSConfig.minTLSVersion":           "metrics-tls-min-version",
	"metricsTLSConfig.filesystem.certFile":     "metrics-tls-cert-file",
	"metricsTLSConfig.filesystem.keyFile":      "metrics-tls-private-key-file",
	"metricsTLSConfig.dynamic.secretNamespace": "metrics-dynamic-serving-ca-secret-namespace",
	"metricsTLSConfig.dynamic.secretName":      "metrics-dynamic-serving-ca-secret-name",
	"metricsTLSConfig.dynamic.dnsNames":        "metrics-dynamic-serving-dns-names",
	"metricsTLSConfig.dynamic.leafDuration":    "metrics-dynamic-serving-leaf-duration",

	"logging.format":         "logging-format",
	"logging.verbosity":      "v",
	"logging.flushFrequency": "log-flush-frequency",
}
