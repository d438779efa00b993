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
	"k8s.io/client-go/tools/leaderelection"

	"github.com/caject/caject/cabundle"
)

// options are what the command line and the configuration file set.
type options struct {
	config     string
	kubeconfig string

	webhookListenAddress string
	admissionTLS         admissionTLS
	healthListenAddress  string
	metricsListenAddress string
	metricsTLS           metricsTLS
	profiling            bool
	profilerAddress      string

	webhookConfiguration string
	hintConfiguration    string
	caSecret             string
	servingNames         []string
	caLifetime           time.Duration
	leafLifetime         time.Duration
	trustDelay           time.Duration

	resyncInterval time.Duration
	retireAfter    time.Duration
	publish        bool
	policy         bool
	featureGates   map[string]string

	leaderElection leaderElection

	namespaces        []string
	ignoredNamespaces []string
	certificates      bool
	injectable        map[cabundle.Kind]*bool

	loggingFormat  string
	verbosity      int
	flushFrequency time.Duration // without effect

	// places says where a value stands that does not come from the command line, by flag: see readConfigFile.
	places map[string]string
}

// leaderElection is who works of several that have no serving certificate.
type leaderElection struct {
	enabled                                   bool
	namespace                                 string
	leaseDuration, renewDeadline, retryPeriod time.Duration
}

// The feature gates of cert-manager's cainjector.
const (
	gateMerging         = "CAInjectorMerging"
	gateServerSideApply = "ServerSideApply"
)

func defaultOptions() *options {
	return &options{
		webhookListenAddress: ":9443",
		admissionTLS:         admissionTLS{minVersion: "VersionTLS13"},
		healthListenAddress:  ":9440",
		metricsListenAddress: ":9402",
		metricsTLS:           metricsTLS{leafDuration: 7 * 24 * time.Hour},
		profilerAddress:      "localhost:6060",
		caLifetime:           365 * 24 * time.Hour,
		leafLifetime:         7 * 24 * time.Hour,
		trustDelay:           time.Minute,
		resyncInterval:       30 * time.Second,
		leaderElection: leaderElection{
			enabled:       true,
			namespace:     "kube-system",
			leaseDuration: 60 * time.Second,
			renewDeadline: 40 * time.Second,
			retryPeriod:   15 * time.Second,
		},
		certificates:  true,
		injectable:    map[cabundle.Kind]*bool{},
		loggingFormat: "text",
	}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.config, "config", o.config,
		"File with a "+configKind+" (of "+configAPIVersion+"). What the command line sets is the stronger one.")
	flags.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig,
		"Kubeconfig file. Without it: $KUBECONFIG, then ~/.kube/config, then the service account of the pod.")

	flags.StringVar(&o.caSecret, "ca-secret", o.caSecret,
		"Secret that holds caject's own CA, as namespace/name. Without it caject serves no admission: it fills targets after they were written.")
	flags.StringVar(&o.webhookConfiguration, "webhook-configuration", o.webhookConfiguration,
		"With --ca-secret: name of caject's own MutatingWebhookConfiguration.")
	flags.StringVar(&o.hintConfiguration, "hint-configuration", o.hintConfiguration,
		"With --ca-secret: name of caject's own ValidatingWebhookConfiguration, by which the API server hints at Secrets that change. Without it there are no hints.")
	flags.StringSliceVar(&o.servingNames, "serving-names", o.servingNames,
		"With --ca-secret: DNS names or IP addresses under which the API server calls caject.")
	flags.StringVar(&o.webhookListenAddress, "webhook-listen-address", o.webhookListenAddress,
		"With --ca-secret: host and port on which admission is served, over TLS.")
	flags.StringVar(&o.admissionTLS.minVersion, "tls-min-version", o.admissionTLS.minVersion,
		"With --ca-secret: lowest version of TLS for admission: VersionTLS12 or VersionTLS13.")
	flags.StringVar(&o.admissionTLS.clientCAFile, "client-ca-file", o.admissionTLS.clientCAFile,
		"With --ca-secret: file with CAs (PEM). Only callers with a client certificate of one of them are answered. It is read once. Without it: all callers are.")
	flags.DurationVar(&o.caLifetime, "ca-lifetime", o.caLifetime,
		"How long caject's own CA is valid; it is renewed at two thirds.")
	flags.DurationVar(&o.leafLifetime, "leaf-lifetime", o.leafLifetime,
		"How long the serving certificate is valid; it is renewed at two thirds.")
	flags.DurationVar(&o.trustDelay, "ca-trust-delay", o.trustDelay,
		"How long caject's configurations must have held a new CA until it signs: every API server learns of it for itself.")

	flags.StringVar(&o.healthListenAddress, "health-listen-address", o.healthListenAddress,
		"Host and port on which /livez and /readyz are served; 0 switches them off.")
	flags.StringVar(&o.metricsListenAddress, "metrics-listen-address", o.metricsListenAddress,
		"Host and port on which /metrics is served; 0 switches it off.")
	o.metricsTLS.addFlags(flags)
	flags.BoolVar(&o.profiling, "enable-profiling", o.profiling,
		"Serve /debug/pprof.")
	flags.StringVar(&o.profilerAddress, "profiler-address", o.profilerAddress,
		"With --enable-profiling: host and port on which it is served. Profiles tell much: keep it on loopback.")

	flags.DurationVar(&o.resyncInterval, "resync-interval", o.resyncInterval,
		"Time between two readings of each referenced source.")
	flags.DurationVar(&o.retireAfter, "retire-after", o.retireAfter,
		"How long after a certificate has left its source it is taken out of the targets, expired or not; 0 leaves it there until it expires. "+
			"Longer than any serving certificate that it has signed is used. Needs --publish-bundles.")
	flags.BoolVar(&o.publish, "publish-bundles", o.publish,
		"Publish each source's bundle as a CABundle, for admission policies and for kubectl get cabundles.")
	flags.BoolVar(&o.policy, "admission-policy", o.policy,
		"An admission policy fills webhook configurations from CABundles: have it write them where it can. Needs --publish-bundles.")
	flags.StringToStringVar(&o.featureGates, "feature-gates", o.featureGates,
		gateMerging+"=false replaces what a caBundle holds by the source, instead of keeping unexpired certificates. "+
			gateServerSideApply+" has no effect.")

	flags.BoolVar(&o.leaderElection.enabled, "leader-elect", o.leaderElection.enabled,
		"Of several processes the holder of a Lease acts at once, and the others a moment later on what is still wrong. "+
			"Without --ca-secret only the holder works, and the Lease is "+leaseName+"; with it, it has the name of --webhook-configuration.")
	flags.StringVar(&o.leaderElection.namespace, "leader-election-namespace", o.leaderElection.namespace,
		"Namespace of the Lease.")
	flags.DurationVar(&o.leaderElection.leaseDuration, "leader-election-lease-duration", o.leaderElection.leaseDuration,
		"How long after the last sign of the holder another one takes over.")
	flags.DurationVar(&o.leaderElection.renewDeadline, "leader-election-renew-deadline", o.leaderElection.renewDeadline,
		"How long the holder tries to renew the Lease before it gives up.")
	flags.DurationVar(&o.leaderElection.retryPeriod, "leader-election-retry-period", o.leaderElection.retryPeriod,
		"Time between two tries to acquire or renew the Lease.")

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
	flags.DurationVar(&o.flushFrequency, "log-flush-frequency", o.flushFrequency, "No effect: each line is written at once.")
}

// complete takes in the configuration file, if one is named, and validates the whole.
func (o *options) complete(flags *pflag.FlagSet) error {
	if o.config != "" {
		var err error
		if o.places, err = readConfigFile(o.config, flags); err != nil {
			return err
		}
	}
	return o.validate()
}

// mistakes collects what is wrong with the options.
type mistakes struct {
	places map[string]string
	errs   []error
}

// add notes a mistake, with the name of the flag, or the place in the configuration file that the value is from.
func (m *mistakes) add(flag, format string, args ...any) {
	place, ok := m.places[flag]
	if !ok {
		place = "--" + flag
	}
	m.errs = append(m.errs, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...)))
}

// validate returns all that is wrong, each error with the place that the value is from.
func (o *options) validate() error {
	wrong := &mistakes{places: o.places}
	o.validateServing(wrong)
	o.validateEndpoints(wrong)
	o.metricsTLS.validate(wrong)
	o.admissionTLS.validate(wrong)
	o.leaderElection.validate(wrong)
	o.validateScope(wrong)
	if o.resyncInterval < 100*time.Millisecond {
		wrong.add("resync-interval", "%s is less than 100ms", o.resyncInterval)
	}
	switch {
	case o.retireAfter < 0:
		wrong.add("retire-after", "%s is less than 0", o.retireAfter)
	case o.retireAfter > 0 && !o.publish:
		wrong.add("retire-after", "needs --publish-bundles")
	}
	if o.policy && !o.publish {
		wrong.add("admission-policy", "needs --publish-bundles")
	}
	for gate, value := range o.featureGates {
		if !slices.Contains([]string{gateMerging, gateServerSideApply, "AllAlpha", "AllBeta"}, gate) {
			wrong.add("feature-gates", "there is no gate %q", gate)
		}
		if _, err := strconv.ParseBool(value); err != nil {
			wrong.add("feature-gates", "%s: %q is neither true nor false", gate, value)
		}
	}
	if o.loggingFormat != "text" && o.loggingFormat != "json" {
		wrong.add("logging-format", "%q is neither text nor json", o.loggingFormat)
	}
	if o.verbosity < 0 {
		wrong.add("v", "must not be negative")
	}
	return errors.Join(wrong.errs...)
}

// serves reports that caject serves admission.
func (o *options) serves() bool { return o.caSecret != "" }

// elects reports that of several processes only one works: those that serve admission all do, and guard their writes.
func (o *options) elects() bool { return o.leaderElection.enabled && !o.serves() }

// validateServing checks what belongs to admission.
func (o *options) validateServing(wrong *mistakes) {
	if !o.serves() {
		if o.webhookConfiguration != "" {
			wrong.add("webhook-configuration", "needs --ca-secret")
		}
		if o.hintConfiguration != "" {
			wrong.add("hint-configuration", "needs --ca-secret")
		}
		if len(o.servingNames) > 0 {
			wrong.add("serving-names", "needs --ca-secret")
		}
		return
	}
	if name := o.caSecretName(); name.Namespace == "" || name.Name == "" || strings.Contains(name.Name, "/") {
		wrong.add("ca-secret", "%q is not namespace/name", o.caSecret)
	}
	if o.webhookConfiguration == "" {
		wrong.add("webhook-configuration", "must be set with --ca-secret")
	}
	if len(o.servingNames) == 0 {
		wrong.add("serving-names", "must be set with --ca-secret")
	}
	if _, _, err := splitAddress(o.webhookListenAddress); err != nil {
		wrong.add("webhook-listen-address", "%v", err)
	}
	for flag, lifetime := range map[string]time.Duration{"ca-lifetime": o.caLifetime, "leaf-lifetime": o.leafLifetime} {
		if lifetime < time.Second {
			wrong.add(flag, "%s is less than a second", lifetime)
		}
	}
	if o.trustDelay < 0 || o.trustDelay > o.caLifetime/6 {
		wrong.add("ca-trust-delay", "%s is not between 0 and a sixth of --ca-lifetime, %s", o.trustDelay, o.caLifetime/6)
	}
	if o.leafLifetime > o.caLifetime {
		wrong.add("leaf-lifetime", "%s is longer than --ca-lifetime, %s", o.leafLifetime, o.caLifetime)
	}
}

// validateEndpoints checks where the rest is served.
func (o *options) validateEndpoints(wrong *mistakes) {
	for flag, address := range map[string]string{
		"health-listen-address": o.healthListenAddress, "metrics-listen-address": o.metricsListenAddress,
	} {
		if _, _, err := splitAddress(address); err != nil && address != "0" {
			wrong.add(flag, "%v", err)
		}
	}
	if _, _, err := splitAddress(o.profilerAddress); err != nil && o.profiling {
		wrong.add("profiler-address", "%v", err)
	}
}

// validate checks what client-go's leader election asks for.
func (l *leaderElection) validate(wrong *mistakes) {
	if !l.enabled {
		return
	}
	if len(validation.IsDNS1123Label(l.namespace)) > 0 {
		wrong.add("leader-election-namespace", "%q is not the name of a namespace", l.namespace)
	}
	if l.leaseDuration < time.Second {
		wrong.add("leader-election-lease-duration", "%s is less than a second", l.leaseDuration)
	}
	if l.renewDeadline >= l.leaseDuration {
		wrong.add("leader-election-renew-deadline", "%s is not less than the lease duration, %s", l.renewDeadline, l.leaseDuration)
	}
	if l.retryPeriod <= 0 {
		wrong.add("leader-election-retry-period", "%s is not more than 0", l.retryPeriod)
	}
	if float64(l.renewDeadline) <= leaderelection.JitterFactor*float64(l.retryPeriod) {
		wrong.add("leader-election-retry-period", "%s is not less than the renew deadline, %s, by a fifth", l.retryPeriod, l.renewDeadline)
	}
}

// validateScope checks which sources are read.
func (o *options) validateScope(wrong *mistakes) {
	if len(o.namespaces) > 0 && len(o.ignoredNamespaces) > 0 {
		wrong.add("namespace", "cannot be combined with --ignore-namespaces")
	}
	for flag, namespaces := range map[string][]string{"namespace": o.namespaces, "ignore-namespaces": o.ignoredNamespaces} {
		for _, namespace := range namespaces {
			if len(validation.IsDNS1123Label(namespace)) > 0 {
				wrong.add(flag, "%q is not the name of a namespace", namespace)
			}
		}
	}
}

// combine says what becomes of the certificates that a caBundle holds already.
func (o *options) combine() cabundle.Combine {
	if merging, err := strconv.ParseBool(o.featureGates[gateMerging]); err == nil && !merging {
		return cabundle.Replace
	}
	return cabundle.Merge
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
	scope := cabundle.Scope{
		Namespaces:        o.namespaces,
		IgnoredNamespaces: o.ignoredNamespaces,
		NoCertificates:    !o.certificates,
	}
	if o.serves() {
		own := o.caSecretName()
		scope.Own = cabundle.Reference{Kind: cabundle.Secret, Namespace: own.Namespace, Name: own.Name}
	}
	return scope
}

// profilerBindAddress is where profiles are served; empty if nowhere.
func (o *options) profilerBindAddress() string {
	if !o.profiling {
		return ""
	}
	return o.profilerAddress
}

// ownConfigurations are the webhook configurations by which the API server calls us, that of admission first.
func (o *options) ownConfigurations() []cabundle.Target {
	own := []cabundle.Target{{Kind: cabundle.MutatingWebhookConfiguration, Name: o.webhookConfiguration}}
	if o.hintConfiguration != "" {
		own = append(own, cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: o.hintConfiguration})
	}
	return own
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
