package main

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
)

// tlsVersions are those that flags can name.
var tlsVersions = map[string]uint16{
	"VersionTLS10": tls.VersionTLS10,
	"VersionTLS11": tls.VersionTLS11,
	"VersionTLS12": tls.VersionTLS12,
	"VersionTLS13": tls.VersionTLS13,
}

// metricsTLS says with which certificate metrics are served: that of files, or of a CA in a Secret that caject makes,
// or none, which means plain HTTP.
type metricsTLS struct {
	certFile, keyFile string

	secretNamespace, secretName string
	dnsNames                    []string
	leafDuration                time.Duration

	cipherSuites []string
	minVersion   string

	// authorized says that only those may read metrics whom the API server says may: see package metricsauth.
	authorized bool
}

func defaultMetricsTLS() metricsTLS { return metricsTLS{leafDuration: 7 * 24 * time.Hour} }

func (m *metricsTLS) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&m.certFile, "metrics-tls-cert-file", m.certFile,
		"File with the certificate for /metrics. caject reads it again when it changes.")
	flags.StringVar(&m.keyFile, "metrics-tls-private-key-file", m.keyFile,
		"File with the private key of --metrics-tls-cert-file.")
	flags.StringVar(&m.secretNamespace, "metrics-dynamic-serving-ca-secret-namespace", m.secretNamespace,
		"Namespace of a Secret in which caject creates a CA. This CA signs the certificate for /metrics.")
	flags.StringVar(&m.secretName, "metrics-dynamic-serving-ca-secret-name", m.secretName,
		"Name of that Secret.")
	flags.StringSliceVar(&m.dnsNames, "metrics-dynamic-serving-dns-names", m.dnsNames,
		"DNS names of that certificate.")
	flags.DurationVar(&m.leafDuration, "metrics-dynamic-serving-leaf-duration", m.leafDuration,
		"How long that certificate is valid; it is renewed at two thirds.")
	flags.StringSliceVar(&m.cipherSuites, "metrics-tls-cipher-suites", m.cipherSuites,
		"Cipher suites for /metrics over TLS 1.2, by the names of Go's crypto/tls. Without it: Go's choice.")
	flags.StringVar(&m.minVersion, "metrics-tls-min-version", m.minVersion,
		"Lowest version of TLS for /metrics: VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13. Without it: Go's choice.")
	flags.BoolVar(&m.authorized, "metrics-authorization", m.authorized,
		"Serve /metrics only to callers with a bearer token whose user may get /metrics (nonResourceURLs in a ClusterRole). caject asks the API server. Needs TLS.")
}

func (m *metricsTLS) fromFiles() bool  { return m.certFile != "" || m.keyFile != "" }
func (m *metricsTLS) fromSecret() bool { return m.secretNamespace != "" || m.secretName != "" }

func (m *metricsTLS) validate(wrong *mistakes) {
	switch {
	case m.fromFiles() && m.fromSecret():
		wrong.add("metrics-tls-cert-file", "cannot be combined with --metrics-dynamic-serving-ca-secret-name")
	case m.fromFiles() && m.certFile == "":
		wrong.add("metrics-tls-cert-file", "must be set with --metrics-tls-private-key-file")
	case m.fromFiles() && m.keyFile == "":
		wrong.add("metrics-tls-private-key-file", "must be set with --metrics-tls-cert-file")
	case m.fromSecret() && len(validation.IsDNS1123Label(m.secretNamespace)) > 0:
		wrong.add("metrics-dynamic-serving-ca-secret-namespace", "%q is not the name of a namespace", m.secretNamespace)
	case m.fromSecret() && len(validation.IsDNS1123Subdomain(m.secretName)) > 0:
		wrong.add("metrics-dynamic-serving-ca-secret-name", "%q is not the name of a Secret", m.secretName)
	case m.fromSecret() && len(m.dnsNames) == 0:
		wrong.add("metrics-dynamic-serving-dns-names", "must be set with --metrics-dynamic-serving-ca-secret-name")
	case m.fromSecret() && m.leafDuration < time.Second:
		wrong.add("metrics-dynamic-serving-leaf-duration", "%s is less than a second", m.leafDuration)
	}
	if m.authorized && !m.fromFiles() && !m.fromSecret() {
		wrong.add("metrics-authorization", "needs --metrics-tls-cert-file or --metrics-dynamic-serving-ca-secret-name: tokens are not to be sent in the clear")
	}
	if _, known := tlsVersions[m.minVersion]; m.minVersion != "" && !known {
		wrong.add("metrics-tls-min-version", "there is no version %q", m.minVersion)
	}
	for _, name := range m.cipherSuites {
		if cipherSuite(name) == 0 {
			wrong.add("metrics-tls-cipher-suites", "there is no cipher suite %q", name)
		}
	}
}

// cipherSuite returns the number of a cipher suite, or 0 if there is none of that name.
func cipherSuite(name string) uint16 {
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if suite.Name == strings.TrimSpace(name) {
			return suite.ID
		}
	}
	return 0
}

// configure sets versions and cipher suites.
func (m *metricsTLS) configure(c *tls.Config) {
	c.MinVersion = tlsVersions[m.minVersion]
	for _, name := range m.cipherSuites {
		c.CipherSuites = append(c.CipherSuites, cipherSuite(name))
	}
}
