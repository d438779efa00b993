package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/caject/caject/cabundle"
)

// options are what the command line sets.
type options struct {
	kubeconfig string

	webhookListenAddress string
	healthListenAddress  string
	metricsListenAddress string

	webhookConfiguration string
	caSecret             string
	servingNames         []string
	caLifetime           time.Duration
	leafLifetime         time.Duration

	resyncInterval time.Duration

	namespaces        []string
	ignoredNamespaces []string
	certificates      bool
	injectable        map[cabundle.Kind]*bool

	loggingFormat string
	verbosity     int
}

func defaultOptions() *options {
	return &options{
		webhookListenAddress: ":9443",
		healthListenAddress:  ":9440",
		metricsListenAddress: ":9402",
		webhookConfiguration: "caject",
		caSecret:             "caject/caject-ca",
		servingNames:         []string{"caject.caject.svc"},
		caLifetime:           365 * 24 * time.Hour,
		leafLifetime:         7 * 24 * time.Hour,
		resyncInterval:       30 * time.Second,
		certificates:         true,
		injectable:           map[cabundle.Kind]*bool{},
		loggingFormat:        "text",
	}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig,
		"Kubeconfig file. Without it: $KUBECONFIG, then ~/.kube/config, then the service account of the pod.")

	flags.StringVar(&o.webhookListenAddress, "webhook-listen-address", o.webhookListenAddress,
		"Host and port on which admission is served, over TLS.")
	flags.StringVar(&o.healthListenAddress, "health-listen-address", o.healthListenAddress,
		"Host and port on which /livez and /readyz are served; 0 switches them off.")
	flags.StringVar(&o.metricsListenAddress, "metrics-listen-address", o.metricsListenAddress,
		"Host and port on which /metrics is served; 0 switches it off.")

	flags.StringVar(&o.webhookConfiguration, "webhook-configuration", o.webhookConfiguration,
		"Name of caject's own MutatingWebhookConfiguration.")
	flags.StringVar(&o.caSecret, "ca-secret", o.caSecret,
		"Secret that holds caject's own CA, as namespace/name.")
	flags.StringSliceVar(&o.servingNames, "serving-names", o.servingNames,
		"DNS names or IP addresses under which the API server calls caject.")
	flags.DurationVar(&o.caLifetime, "ca-lifetime", o.caLifetime,
		"How long caject's own CA is valid; it is renewed at two thirds.")
	flags.DurationVar(&o.leafLifetime, "leaf-lifetime", o.leafLifetime,
		"How long the serving certificate is valid; it is renewed at two thirds.")

	flags.DurationVar(&o.resyncInterval, "resync-interval", o.resyncInterval,
		"Time between two readings of each referenced source.")

	flags.StringSliceVar(&o.namespaces, "namespace", o.namespaces,
		"Read sources in these namespaces only. The API server's CA is in every one.")
	flags.StringSliceVar(&o.ignoredNamespaces, "ignore-namespaces", o.ignoredNamespaces,
		"Do not read sources in these namespaces. Not together with --namespace.")
	flags.BoolVar(&o.certificates, "enable-certificates-data-source", o.certificates,
		"Read cert-manager's Certificates.")
	for _, kind := range cabundle.Kinds() {
		plural := kind.Resource().Resource
		o.injectable[kind] = flags.Bool("enable-"+plural+"-injectable", true, "Inject into "+plural+".")
	}

	flags.StringVar(&o.loggingFormat, "logging-format", o.loggingFormat, "text or json.")
	flags.IntVarP(&o.verbosity, "v", "v", o.verbosity, "Verbosity of the log: 0 is what an operator must see.")
}

// validate returns all that is wrong with the command line, each error with the name of its flag.
func (o *options) validate() error {
	var errs []error
	wrong := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
	}
	if _, _, err := splitAddress(o.webhookListenAddress); err != nil {
		wrong("webhook-listen-address", "%v", err)
	}
	for flag, address := range map[string]string{
		"health-listen-address": o.healthListenAddress, "metrics-listen-address": o.metricsListenAddress,
	} {
		if _, _, err := splitAddress(address); err != nil && address != "0" {
			wrong(flag, "%v", err)
		}
	}
	if o.webhookConfiguration == "" {
		wrong("webhook-configuration", "must not be empty")
	}
	if name := o.caSecretName(); name.Namespace == "" || name.Name == "" || strings.Contains(name.Name, "/") {
		wrong("ca-secret", "%q is not namespace/name", o.caSecret)
	}
	if len(o.servingNames) == 0 {
		wrong("serving-names", "must not be empty")
	}
	for flag, lifetime := range map[string]time.Duration{"ca-lifetime": o.caLifetime, "leaf-lifetime": o.leafLifetime} {
		if lifetime < time.Second {
			wrong(flag, "%s is less than a second", lifetime)
		}
	}
	if o.leafLifetime > o.caLifetime {
		wrong("leaf-lifetime", "%s is longer than --ca-lifetime, %s", o.leafLifetime, o.caLifetime)
	}
	if o.resyncInterval < 100*time.Millisecond {
		wrong("resync-interval", "%s is less than 100ms", o.resyncInterval)
	}
	if len(o.namespaces) > 0 && len(o.ignoredNamespaces) > 0 {
		wrong("namespace", "cannot be combined with --ignore-namespaces")
	}
	for flag, namespaces := range map[string][]string{"namespace": o.namespaces, "ignore-namespaces": o.ignoredNamespaces} {
		for _, namespace := range namespaces {
			if len(validation.IsDNS1123Label(namespace)) > 0 {
				wrong(flag, "%q is not the name of a namespace", namespace)
			}
		}
	}
	if o.loggingFormat != "text" && o.loggingFormat != "json" {
		wrong("logging-format", "%q is neither text nor json", o.loggingFormat)
	}
	if o.verbosity < 0 {
		wrong("v", "must not be negative")
	}
	return errors.Join(errs...)
}

// kinds are the kinds of target that are injected into.
func (o *options) kinds() []cabundle.Kind {
	return slices.DeleteFunc(cabundle.Kinds(), func(kind cabundle.Kind) bool {
		enabled, known := o.injectable[kind]
		return known && !*enabled
	})
}

// scope says which sources are read.
func (o *options) scope() cabundle.Scope {
	own := o.caSecretName()
	return cabundle.Scope{
		Namespaces:        o.namespaces,
		IgnoredNamespaces: o.ignoredNamespaces,
		NoCertificates:    !o.certificates,
		Own:               cabundle.Reference{Kind: cabundle.Secret, Namespace: own.Namespace, Name: own.Name},
	}
}

func (o *options) caSecretName() types.NamespacedName {
	namespace, name, _ := strings.Cut(o.caSecret, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// splitAddress returns host and port of host:port; the host may be empty.
func splitAddress(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", address)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("%q is not a port", port)
	}
	return host, int(number), nil
}
