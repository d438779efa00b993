package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		out  string // part of what is printed
	}{
		"version":                          {[]string{"version"}, 0, "caject "},
		"help":                             {[]string{"--help"}, 0, "never lists or watches Secrets"},
		"help of run":                      {[]string{"run", "--help"}, 0, "--resync-interval"},
		"an unknown flag":                  {[]string{"--nonsense"}, 1, "unknown flag: --nonsense"},
		"an unknown flag of run":           {[]string{"run", "--nonsense"}, 1, "unknown flag: --nonsense"},
		"an unknown command":               {[]string{"nonsense"}, 1, `"nonsense"`},
		"an argument of run":               {[]string{"run", "nonsense"}, 1, `"nonsense"`},
		"an argument of version":           {[]string{"version", "nonsense"}, 1, `"nonsense"`},
		"no port":                          {[]string{"--webhook-listen-address=localhost"}, 1, `--webhook-listen-address: "localhost" is not host:port`},
		"a port that is none":              {[]string{"--health-listen-address=:70000"}, 1, `--health-listen-address: "70000" is not a port`},
		"port 0":                           {[]string{"--metrics-listen-address=:0"}, 1, `--metrics-listen-address: "0" is not a port`},
		"a Secret without namespace":       {[]string{"--ca-secret=name"}, 1, `--ca-secret: "name" is not namespace/name`},
		"a Secret with too many slashes":   {[]string{"--ca-secret=a/b/c"}, 1, `--ca-secret: "a/b/c" is not namespace/name`},
		"no serving name":                  {[]string{"--serving-names="}, 1, "--serving-names: must not be empty"},
		"no configuration":                 {[]string{"--webhook-configuration="}, 1, "--webhook-configuration: must not be empty"},
		"an interval that is none":         {[]string{"--resync-interval=x"}, 1, "--resync-interval"},
		"an interval of nothing":           {[]string{"--resync-interval=0s"}, 1, "--resync-interval: 0s is less than 100ms"},
		"a leaf that outlives the CA":      {[]string{"--leaf-lifetime=2h", "--ca-lifetime=1h"}, 1, "--leaf-lifetime: 2h0m0s is longer than --ca-lifetime"},
		"a lifetime of nothing":            {[]string{"--leaf-lifetime=0s"}, 1, "--leaf-lifetime: 0s is less than a second"},
		"namespaces to read and to ignore": {[]string{"--namespace=a", "--ignore-namespaces=b", "--logging-format=text"}, 1, "--namespace: cannot be combined with --ignore-namespaces"},
		"a namespace that cannot exist":    {[]string{"--ignore-namespaces=a,B!"}, 1, `--ignore-namespaces: "B!" is not the name of a namespace`},
		"a logging format":                 {[]string{"--logging-format=xml"}, 1, `--logging-format: "xml" is neither text nor json`},
		"a negative verbosity":             {[]string{"-v=-1"}, 1, "--v: must not be negative"},
		"two mistakes, both named":         {[]string{"--ca-secret=x", "--logging-format=xml"}, 1, "--logging-format"},
		"a kubeconfig that is not there":   {[]string{"--kubeconfig=/nonexistent"}, 1, "/nonexistent"},
		"the same for run":                 {[]string{"run", "--kubeconfig=/nonexistent"}, 1, "/nonexistent"},
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
