package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/caject/caject/cabundle"
)

const header = "apiVersion: cainjector.config.cert-manager.io/v1alpha1\nkind: CAInjectorConfiguration\n"

// writeConfig writes a configuration file, and returns its path.
func writeConfig(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// complete returns the options of a command line.
func complete(t testing.TB, args ...string) (*options, error) {
	t.Helper()
	o, flags := defaultOptions(), pflag.NewFlagSet("caject", pflag.ContinueOnError)
	o.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o, o.complete(flags)
}

// TestConfigFile sets every field.
func TestConfigFile(t *testing.T) {
	path := writeConfig(t, header+`
kubeConfig: /etc/kubeconfig
namespace: sandbox
leaderElectionConfig:
  enabled: true
  namespace: cert-manager
  leaseDuration: 90s
  renewDeadline: 50000000000
  retryPeriod: 20s
enableDataSourceConfig:
  certificates: false
enableInjectableConfig:
  validatingWebhookConfigurations: true
  mutatingWebhookConfigurations: null
  customResourceDefinitions: false
  apiServices: false
enablePprof: true
pprofAddress: localhost:6061
logging:
  format: json
  verbosity: 3
  flushFrequency: 5s
featureGates:
  CAInjectorMerging: false
  ServerSideApply: true
metricsListenAddress: 0.0.0.0:9403
metricsTLSConfig:
  cipherSuites: [TLS_AES_128_GCM_SHA256]
  minTLSVersion: VersionTLS12
  filesystem: {}
  dynamic:
    secretNamespace: cert-manager
    secretName: metrics-ca
    dnsNames:
      - cainjector
      - cainjector.cert-manager.svc
    leafDuration: 1h
`)
	o, err := complete(t, "--config="+path)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultOptions()
	want.config = path
	want.kubeconfig = "/etc/kubeconfig"
	want.namespaces = []string{"sandbox"}
	want.leaderElection = leaderElection{
		enabled: true, namespace: "cert-manager",
		leaseDuration: 90 * time.Second, renewDeadline: 50 * time.Second, retryPeriod: 20 * time.Second,
	}
	want.certificates = false
	want.profiling, want.profilerAddress = true, "localhost:6061"
	want.loggingFormat, want.verbosity, want.flushFrequency = "json", 3, 5*time.Second
	want.featureGates = map[string]string{"CAInjectorMerging": "false", "ServerSideApply": "true"}
	want.metricsListenAddress = "0.0.0.0:9403"
	want.metricsTLS = metricsTLS{
		cipherSuites: []string{"TLS_AES_128_GCM_SHA256"}, minVersion: "VersionTLS12",
		secretNamespace: "cert-manager", secretName: "metrics-ca",
		dnsNames: []string{"cainjector", "cainjector.cert-manager.svc"}, leafDuration: time.Hour,
	}
	want.injectable, want.places = o.injectable, o.places
	if diff := cmp.Diff(want, o, cmp.AllowUnexported(options{}, servingOptions{}, endpointOptions{}, metricsTLS{}, resyncOptions{},
		leaderElection{}, scopeOptions{}, loggingOptions{}, cainjectorOptions{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]cabundle.Kind{cabundle.MutatingWebhookConfiguration, cabundle.ValidatingWebhookConfiguration}, o.kinds()); diff != "" {
		t.Error(diff)
	}
	for field, flag := range fieldFlags {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		key := field[strings.LastIndex(field, ".")+1:]
		if !strings.Contains(string(content), key+":") && !slices.Contains([]string{"ignoreNamespaces", "certFile", "keyFile"}, key) {
			t.Errorf("this test sets no %s", field)
		}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		if defaultOptions().addFlags(flags); flags.Lookup(flag) == nil {
			t.Errorf("%s stands for --%s, which does not exist", field, flag)
		}
	}
}

func TestTheCommandLineIsStrongerThanTheConfigFile(t *testing.T) {
	path := writeConfig(t, header+"ignoreNamespaces: [a, b]\nlogging: {verbosity: 3}\nleaderElectionConfig: {enabled: false}\n")
	o, err := complete(t, "-v=1", "--config="+path, "--leader-elect")
	if err != nil {
		t.Fatal(err)
	}
	if o.verbosity != 1 || !o.leaderElection.enabled || !slices.Equal(o.ignoredNamespaces, []string{"a", "b"}) {
		t.Errorf("verbosity %d, leader election %v, ignored namespaces %v", o.verbosity, o.leaderElection.enabled, o.ignoredNamespaces)
	}
}

func TestBadConfigFile(t *testing.T) {
	tests := map[string]struct {
		content string
		want    string // what is printed, behind the file's path
	}{
		"nothing":                          {"", "apiVersion: nothing is not cainjector.config.cert-manager.io/v1alpha1"},
		"bad YAML":                         {header + "a: [", "cannot be read as YAML"},
		"a list":                           {"- a", "cannot be read as YAML"},
		"a field twice":                    {header + "namespace: a\nnamespace: b\n", `"namespace" already set`},
		"another kind":                     {strings.Replace(header, "CAInjector", "Webhook", 1), `kind: "WebhookConfiguration" is not CAInjectorConfiguration`},
		"another version":                  {strings.Replace(header, "v1alpha1", "v1", 1), `apiVersion: "cainjector.config.cert-manager.io/v1" is not`},
		"an unknown field":                 {header + "nonsense: 1\n", "nonsense: unknown field"},
		"an unknown field deep within":     {header + "leaderElectionConfig: {leaseduration: 1s}\n", "leaderElectionConfig.leaseduration: unknown field"},
		"an unknown object":                {header + "nonsense: {a: 1}\n", "nonsense: unknown field"},
		"a field of klog":                  {header + "logging: {vmodule: []}\n", "logging.vmodule: unknown field"},
		"a text for an object":             {header + "leaderElectionConfig: yes please\n", "leaderElectionConfig: an object is needed"},
		"an object for a text":             {header + "pprofAddress: {a: b}\n", "pprofAddress: a text is needed, not an object"},
		"a list for a text":                {header + "pprofAddress: [a]\n", "pprofAddress: a text is needed, not a list"},
		"a number that is none":            {header + "logging: {verbosity: high}\n", `logging.verbosity: "high" is not a whole number`},
		"a duration that is none":          {header + "leaderElectionConfig: {leaseDuration: long}\n", `leaderElectionConfig.leaseDuration: "long" is not a duration such as 60s`},
		"a switch that is none":            {header + "enablePprof: perhaps\n", `enablePprof: "perhaps" is not true or false`},
		"a value that cannot be":           {header + "leaderElectionConfig: {retryPeriod: 50s}\n", "leaderElectionConfig.retryPeriod: 50s is not less"},
		"a gate that is neither":           {header + "featureGates: {CAInjectorMerging: 3}\n", `featureGates: CAInjectorMerging: "3" is neither true nor false`},
		"an unknown gate":                  {header + "featureGates: {Nonsense: true}\n", `featureGates: there is no gate "Nonsense"`},
		"namespaces to read and ignore":    {header + "namespace: a\nignoreNamespaces: [b]\n", "namespace: cannot be combined"},
		"more than it may have":            {header + strings.Repeat("#", 1<<20), "has more than 1048576 bytes"},
		"two mistakes, the second as well": {header + "nonsense: 1\nenablePprof: 7\n", "nonsense: unknown field"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			path := writeConfig(t, test.content)
			var out bytes.Buffer
			if code := execute(t.Context(), []string{"--config=" + path}, &out, &out); code != 1 {
				t.Errorf("exit code is %d", code)
			}
			if !strings.Contains(out.String(), path+": ") || !strings.Contains(out.String(), test.want) {
				t.Errorf("printed %q, not …%s…", &out, test.want)
			}
		})
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add(header + "namespace: a\nfeatureGates: {CAInjectorMerging: false}\n")
	f.Add(header + "metricsTLSConfig: {dynamic: {dnsNames: [a, b], leafDuration: 5}}\nlogging: {verbosity: 1e9}\n")
	f.Add("{}")
	f.Fuzz(func(t *testing.T, content string) {
		path := writeConfig(t, content)
		if _, err := complete(t, "--config="+path); err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name the file: %v", err)
		}
	})
}
