package main

import (
	"crypto/tls"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	"github.com/caject/caject/cabundle"
)

// servingOptions say how admission is served: where, to whom, and with which certificate.
type servingOptions struct {
	webhookListenAddress string
	tlsMinVersion        string
	// clientCAFile holds the CAs (PEM) of client certificates; empty if none is asked for.
	clientCAFile string

	webhookConfiguration string
	hintConfiguration    string

	caSecret     string
	servingNames []string
	caLifetime   time.Duration
	leafLifetime time.Duration
	trustDelay   time.Duration
}

func defaultServing() servingOptions {
	return servingOptions{
		webhookListenAddress: ":9443",
		tlsMinVersion:        "VersionTLS12",
		caLifetime:           365 * 24 * time.Hour,
		leafLifetime:         7 * 24 * time.Hour,
		trustDelay:           time.Minute,
	}
}

func (s *servingOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.caSecret, "ca-secret", s.caSecret,
		"Secret that holds caject's own CA, as namespace/name. Without it caject serves no admission: it fills targets after they were written.")
	flags.StringVar(&s.webhookConfiguration, "webhook-configuration", s.webhookConfiguration,
		"With --ca-secret: name of caject's own MutatingWebhookConfiguration.")
	flags.StringVar(&s.hintConfiguration, "hint-configuration", s.hintConfiguration,
		"With --ca-secret: name of caject's own ValidatingWebhookConfiguration, by which the API server sends hints about changed Secrets. Without it there are no hints.")
	flags.StringSliceVar(&s.servingNames, "serving-names", s.servingNames,
		"With --ca-secret: DNS names or IP addresses under which the API server calls caject.")
	flags.StringVar(&s.webhookListenAddress, "webhook-listen-address", s.webhookListenAddress,
		"With --ca-secret: host and port for admission, over TLS.")
	flags.StringVar(&s.tlsMinVersion, "tls-min-version", s.tlsMinVersion,
		"With --ca-secret: lowest TLS version for admission: VersionTLS12 or VersionTLS13.")
	flags.StringVar(&s.clientCAFile, "client-ca-file", s.clientCAFile,
		"With --ca-secret: file with CAs (PEM), read once. caject answers only callers with a client certificate from one of them. Without it: all callers.")
	flags.DurationVar(&s.caLifetime, "ca-lifetime", s.caLifetime,
		"How long caject's own CA is valid; caject renews it at two thirds.")
	flags.DurationVar(&s.leafLifetime, "leaf-lifetime", s.leafLifetime,
		"How long the serving certificate is valid; caject renews it at two thirds.")
	flags.DurationVar(&s.trustDelay, "ca-trust-delay", s.trustDelay,
		"How long caject's configurations must have held a new CA before it signs: each API server learns of it separately.")
}

func (s *servingOptions) validate(wrong *mistakes) {
	if version := tlsVersions[s.tlsMinVersion]; version < tls.VersionTLS12 { // no API server needs one below
		wrong.add("tls-min-version", "%q is neither VersionTLS12 nor VersionTLS13", s.tlsMinVersion)
	}
	if !s.serves() {
		if s.webhookConfiguration != "" {
			wrong.add("webhook-configuration", "needs --ca-secret")
		}
		if s.hintConfiguration != "" {
			wrong.add("hint-configuration", "needs --ca-secret")
		}
		if len(s.servingNames) > 0 {
			wrong.add("serving-names", "needs --ca-secret")
		}
		return
	}
	if name := s.caSecretName(); name.Namespace == "" || name.Name == "" || strings.Contains(name.Name, "/") {
		wrong.add("ca-secret", "%q is not namespace/name", s.caSecret)
	}
	if s.webhookConfiguration == "" {
		wrong.add("webhook-configuration", "must be set with --ca-secret")
	}
	if len(s.servingNames) == 0 {
		wrong.add("serving-names", "must be set with --ca-secret")
	}
	if _, _, err := splitAddress(s.webhookListenAddress); err != nil {
		wrong.add("webhook-listen-address", "%v", err)
	}
	s.validateLifetimes(wrong)
}

func (s *servingOptions) validateLifetimes(wrong *mistakes) {
	for flag, lifetime := range map[string]time.Duration{"ca-lifetime": s.caLifetime, "leaf-lifetime": s.leafLifetime} {
		if lifetime < time.Second {
			wrong.add(flag, "%s is less than a second", lifetime)
		}
	}
	if s.trustDelay < 0 || s.trustDelay > s.caLifetime/6 {
		wrong.add("ca-trust-delay", "%s is not between 0 and a sixth of --ca-lifetime, %s", s.trustDelay, s.caLifetime/6)
	}
	if s.leafLifetime > s.caLifetime {
		wrong.add("leaf-lifetime", "%s is longer than --ca-lifetime, %s", s.leafLifetime, s.caLifetime)
	}
}

// serves reports whether caject serves admission.
func (s *servingOptions) serves() bool { return s.caSecret != "" }

func (s *servingOptions) caSecretName() types.NamespacedName {
	namespace, name, _ := strings.Cut(s.caSecret, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// ownConfigurations are the webhook configurations by which the API server calls us, that of admission first.
func (s *servingOptions) ownConfigurations() []cabundle.Target {
	own := []cabundle.Target{{Kind: cabundle.MutatingWebhookConfiguration, Name: s.webhookConfiguration}}
	if s.hintConfiguration != "" {
		own = append(own, cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: s.hintConfiguration})
	}
	return own
}
