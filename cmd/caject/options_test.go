package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/caject/caject/cabundle"
)

// with returns args behind what admission needs.
func with(args ...string) []string {
	return append([]string{"--ca-secret=a/b", "--webhook-configuration=c", "--serving-names=d"}, args...)
}

// peerFlags are those of cert-manager's cainjector 1.21, as its chart or an operator may set them.
var peerFlags = []string{
	"--v=2",
	"--logging-format=json",
	"--log-flush-frequency=5s",
	"--leader-elect=true",
	"--leader-election-namespace=kube-system",
	"--leader-election-lease-duration=60s",
	"--leader-election-renew-deadline=40s",
	"--leader-election-retry-period=15s",
	"--feature-gates=CAInjectorMerging=false,ServerSideApply=true,AllAlpha=false,AllBeta=true",
	"--enable-certificates-data-source=false",
	"--enable-validatingwebhookconfigurations-injectable=true",
	"--enable-mutatingwebhookconfigurations-injectable=true",
	"--enable-customresourcedefinitions-injectable=false",
	"--enable-apiservices-injectable=false",
	"--metrics-listen-address=0",
	"--metrics-tls-cert-file=/tls/tls.crt",
	"--metrics-tls-private-key-file=/tls/tls.key",
	"--metrics-tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256",
	"--metrics-tls-min-version=VersionTLS12",
	"--metrics-dynamic-serving-leaf-duration=168h",
	"--enable-profiling",
	"--profiler-address=localhost:6060",
	"--namespace=cert-manager",
}

func TestCommandLine(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		out  string // part of what is printed
	}{
		"version":                           {[]string{"version"}, 0, "caject "},
		"help":                              {[]string{"--help"}, 0, "never lists or watches Secrets"},
		"help of run":                       {[]string{"run", "--help"}, 0, "--resync-interval"},
		"an unknown flag":                   {[]string{"--nonsense"}, 1, "unknown flag: --nonsense"},
		"an unknown flag of run":            {[]string{"run", "--nonsense"}, 1, "unknown flag: --nonsense"},
		"an unknown command":                {[]string{"nonsense"}, 1, `"nonsense"`},
		"an argument of run":                {[]string{"run", "nonsense"}, 1, `"nonsense"`},
		"version, as a flag":                {[]string{"--version"}, 0, " (go"},
		"version, as a flag beside others":  {[]string{"--v=1", "--version"}, 0, " (go"},
		"an argument of version":            {[]string{"version", "nonsense"}, 1, `"nonsense"`},
		"no port":                           {with("--webhook-listen-address=localhost"), 1, `--webhook-listen-address: "localhost" is not host:port`},
		"a port that is none":               {[]string{"--health-listen-address=:70000"}, 1, `--health-listen-address: "70000" is not a port`},
		"port 0":                            {[]string{"--metrics-listen-address=:0"}, 1, `--metrics-listen-address: "0" is not a port`},
		"a Secret without namespace":        {[]string{"--ca-secret=name"}, 1, `--ca-secret: "name" is not namespace/name`},
		"a Secret with too many slashes":    {[]string{"--ca-secret=a/b/c"}, 1, `--ca-secret: "a/b/c" is not namespace/name`},
		"no serving name":                   {[]string{"--ca-secret=a/b", "--webhook-configuration=c"}, 1, "--serving-names: must be set with --ca-secret"},
		"no configuration":                  {[]string{"--ca-secret=a/b", "--serving-names=x"}, 1, "--webhook-configuration: must be set with --ca-secret"},
		"an interval that is none":          {[]string{"--resync-interval=x"}, 1, "--resync-interval"},
		"an interval of nothing":            {[]string{"--resync-interval=0s"}, 1, "--resync-interval: 0s is less than 100ms"},
		"a leaf that outlives the CA":       {with("--leaf-lifetime=2h", "--ca-lifetime=1h"), 1, "--leaf-lifetime: 2h0m0s is longer than --ca-lifetime"},
		"a delay that the CA does not live": {with("--ca-lifetime=1h", "--leaf-lifetime=1h", "--ca-trust-delay=11m"), 1, "--ca-trust-delay: 11m0s is not between 0 and a sixth of --ca-lifetime, 10m0s"},
		"a lifetime of nothing":             {with("--leaf-lifetime=0s"), 1, "--leaf-lifetime: 0s is less than a second"},
		"namespaces to read and to ignore":  {[]string{"--namespace=a", "--ignore-namespaces=b", "--logging-format=text"}, 1, "--namespace: cannot be combined with --ignore-namespaces"},
		"a source that is none":             {[]string{"--sources=secret/a/b,c/d"}, 1, `--sources: "c/d" is not secret/namespace/name, certificate/namespace/name or apiserver`},
		"a source in no namespace":          {[]string{"--sources=secret/A!/b"}, 1, `--sources: "secret/A!/b" is not secret/namespace/name`},
		"sources and namespaces":            {[]string{"--sources=secret/a/b", "--namespace=a"}, 1, "--sources: cannot be combined with --namespace"},
		"a namespace that cannot exist":     {[]string{"--ignore-namespaces=a,B!"}, 1, `--ignore-namespaces: "B!" is not the name of a namespace`},
		"a logging format":                  {[]string{"--logging-format=xml"}, 1, `--logging-format: "xml" is neither text nor json`},
		"a negative verbosity":              {[]string{"-v=-1"}, 1, "--v: must not be negative"},
		"two mistakes, both named":          {[]string{"--ca-secret=x", "--logging-format=xml"}, 1, "--logging-format"},
		"a kubeconfig that is not there":    {[]string{"--kubeconfig=/nonexistent"}, 1, "/nonexistent"},
		"a serving name without a CA":       {[]string{"--serving-names=x"}, 1, "--serving-names: needs --ca-secret"},
		"hints without a CA":                {[]string{"--hint-configuration=x"}, 1, "--hint-configuration: needs --ca-secret"},
		"a configuration without a CA":      {[]string{"--webhook-configuration=x"}, 1, "--webhook-configuration: needs --ca-secret"},
		"a retirement in the past":          {[]string{"--retire-after=-1s"}, 1, "--retire-after: -1s is less than 0"},
		"a retirement without bundles":      {[]string{"--retire-after=1s"}, 1, "--retire-after: needs --publish-to"},
		"a place that is none":              {[]string{"--publish-to=caject"}, 1, `--publish-to: "caject" is not namespace/name`},
		"a policy without bundles":          {[]string{"--admission-policy"}, 1, "--admission-policy: needs --publish-to"},
		"a kind that no policy fills":       {[]string{"--admission-policy-kinds=validatingwebhookconfigurations,secrets"}, 1, `--admission-policy-kinds: "secrets" is not the resource of a kind`},
		"an unknown feature gate":           {[]string{"--feature-gates=Foo=true"}, 1, `--feature-gates: there is no gate "Foo"`},
		"a feature gate that is neither":    {[]string{"--feature-gates=CAInjectorMerging=maybe"}, 1, `--feature-gates: CAInjectorMerging: "maybe" is neither true nor false`},
		"a lease of nothing":                {[]string{"--leader-election-lease-duration=0"}, 1, "--leader-election-lease-duration: 0s is less than a second"},
		"a deadline after the lease":        {[]string{"--leader-election-renew-deadline=1m"}, 1, "--leader-election-renew-deadline: 1m0s is not less than the lease duration, 1m0s"},
		"a retry period of nothing":         {[]string{"--leader-election-retry-period=0"}, 1, "--leader-election-retry-period: 0s is not more than 0"},
		"a retry period too long":           {[]string{"--leader-election-retry-period=35s"}, 1, "--leader-election-retry-period: 35s is not less than the renew deadline, 40s, by a fifth"},
		"a lease in no namespace":           {[]string{"--leader-election-namespace="}, 1, `--leader-election-namespace: "" is not the name of a namespace`},
		"no profiler port":                  {[]string{"--enable-profiling", "--profiler-address=x"}, 1, `--profiler-address: "x" is not host:port`},
		"two metrics certificates":          {[]string{"--metrics-tls-cert-file=a", "--metrics-dynamic-serving-ca-secret-name=b"}, 1, "--metrics-tls-cert-file: cannot be combined"},
		"a certificate without key":         {[]string{"--metrics-tls-cert-file=a"}, 1, "--metrics-tls-private-key-file: must be set with --metrics-tls-cert-file"},
		"a key without certificate":         {[]string{"--metrics-tls-private-key-file=a"}, 1, "--metrics-tls-cert-file: must be set with --metrics-tls-private-key-file"},
		"a metrics CA in no namespace":      {[]string{"--metrics-dynamic-serving-ca-secret-name=a"}, 1, `--metrics-dynamic-serving-ca-secret-namespace: "" is not the name of a namespace`},
		"a metrics CA without name":         {[]string{"--metrics-dynamic-serving-ca-secret-namespace=a"}, 1, `--metrics-dynamic-serving-ca-secret-name: "" is not the name of a Secret`},
		"a metrics CA for no DNS name":      {[]string{"--metrics-dynamic-serving-ca-secret-namespace=a", "--metrics-dynamic-serving-ca-secret-name=b"}, 1, "--metrics-dynamic-serving-dns-names: must be set"},
		"a metrics leaf of nothing":         {[]string{"--metrics-dynamic-serving-ca-secret-namespace=a", "--metrics-dynamic-serving-ca-secret-name=b", "--metrics-dynamic-serving-dns-names=c", "--metrics-dynamic-serving-leaf-duration=0"}, 1, "--metrics-dynamic-serving-leaf-duration: 0s is less than a second"},
		"a version of TLS":                  {[]string{"--metrics-tls-min-version=TLS9"}, 1, `--metrics-tls-min-version: there is no version "TLS9"`},
		"a cipher suite":                    {[]string{"--metrics-tls-cipher-suites=TLS_AES_128_GCM_SHA256,ROT13"}, 1, `--metrics-tls-cipher-suites: there is no cipher suite "ROT13"`},
		"a configuration file not there":    {[]string{"--config=/nonexistent"}, 1, "/nonexistent: no such file"},
		"all of cert-manager's flags":       {append(slices.Clone(peerFlags), "--kubeconfig=/nonexistent"), 1, `find the API server: stat /nonexistent`},
		"the same for run":                  {[]string{"run", "--kubeconfig=/nonexistent"}, 1, "/nonexistent"},
		"metrics for some without TLS":      {[]string{"--metrics-authorization"}, 1, "--metrics-authorization: needs --metrics-tls-cert-file"},
		"admission over TLS 1.1":            {with("--tls-min-version=VersionTLS11"), 1, `--tls-min-version: "VersionTLS11" is neither VersionTLS12 nor VersionTLS13`},
		"a fingerprint too short":           {[]string{"--distrust=ab:cd"}, 1, `--distrust: "ab:cd" is not a SHA-256 fingerprint`},
		"a fingerprint too long":            {[]string{"--distrust=" + strings.Repeat("ab", 33)}, 1, `--distrust: "abab`},
		"a fingerprint that is not hex":     {[]string{"--distrust=" + strings.Repeat("xy", 32)}, 1, `--distrust: "xyxy`},
		"a colon in the wrong place":        {[]string{"--distrust=a:b" + strings.Repeat("ab", 31)}, 1, `--distrust: "a:b`},
		"a colon too many":                  {[]string{"--distrust=" + strings.Repeat("ab:", 32)}, 1, `--distrust: "ab:`},
		"the second fingerprint":            {[]string{"--distrust=" + strings.Repeat("ab", 32) + ",nonsense"}, 1, `--distrust: "nonsense" is not a SHA-256 fingerprint`},
		"admission over no TLS":             {with("--tls-min-version="), 1, `--tls-min-version: "" is neither`},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			var out bytes.Buffer
			code := execute(t.Context(), test.args, &out, &out)
			if code != test.code {
				t.Errorf("exit code is %d", code)
			}
			if !strings.Contains(out.String(), test.out) {
				t.Errorf("printed %q, not …%s…", &out, test.out)
			}
		})
	}
}

func TestTheDefaultsAreValid(t *testing.T) {
	if err := defaultOptions().validate(); err != nil {
		t.Error(err)
	}
}

func TestFingerprintsAreBroughtIntoOneForm(t *testing.T) {
	want := strings.Repeat("0aff", 16)
	for sentence, value := range map[string]string{
		"as it is":                 want,
		"in upper case":            strings.ToUpper(want),
		"with colons":              strings.TrimSuffix(strings.Repeat("0a:ff:", 16), ":"),
		"as openssl prints it":     strings.TrimSuffix(strings.Repeat("0A:FF:", 16), ":"),
		"in upper and lower cases": strings.Repeat("0aFf", 16),
	} {
		o, err := complete(t, "--distrust="+value, "--distrust="+strings.Repeat("11", 32))
		if err != nil {
			t.Errorf("%s: %v", sentence, err)
			continue
		}
		if diff := cmp.Diff([]string{want, strings.Repeat("11", 32)}, o.distrust); diff != "" {
			t.Errorf("%s: %s", sentence, diff)
		}
	}
}

func TestZeroSwitchesEndpointsOff(t *testing.T) {
	o := defaultOptions()
	o.healthListenAddress, o.metricsListenAddress = "0", "0"
	if err := o.validate(); err != nil {
		t.Error(err)
	}
}

func TestLoggingFormats(t *testing.T) {
	for format, want := range map[string]string{"text": `msg=hello key=value`, "json": `"msg":"hello","key":"value"`} {
		var out bytes.Buffer
		logger := setUpLogging(&out, format, 1)
		logger.Info("hello", "key", "value")
		logger.V(1).Info("detail")
		logger.V(2).Info("too much")
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "detail") || strings.Contains(out.String(), "too much") {
			t.Errorf("%s: %s", format, &out)
		}
	}
	setUpLogging(io.Discard, "text", 0)
}

func TestTheKindsThatPoliciesFill(t *testing.T) {
	both := []cabundle.Kind{cabundle.MutatingWebhookConfiguration, cabundle.ValidatingWebhookConfiguration}
	for sentence, test := range map[string]struct {
		args []string
		want []cabundle.Kind
	}{
		"all":                          {nil, cabundle.Kinds()},
		"some":                         {[]string{"--admission-policy-kinds=validatingwebhookconfigurations,mutatingwebhookconfigurations"}, both},
		"none that is switched off":    {[]string{"--enable-mutatingwebhookconfigurations-injectable=false", "--admission-policy-kinds=mutatingwebhookconfigurations,validatingwebhookconfigurations"}, both[1:]},
		"all that is not switched off": {[]string{"--enable-apiservices-injectable=false", "--enable-customresourcedefinitions-injectable=false"}, both},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := defaultOptions()
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			o.addFlags(flags)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, o.policyFills()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
