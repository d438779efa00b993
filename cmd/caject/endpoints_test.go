package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestProfilingBeyondThisMachineIsWarnedOf(t *testing.T) {
	tests := map[string]struct {
		args   []string
		warned bool
	}{
		"off, the default":           {[]string{"--profiler-address=:6060"}, false},
		"on, at the default address": {[]string{"--enable-profiling"}, false},
		"on loopback":                {[]string{"--enable-profiling", "--profiler-address=127.0.0.2:6060"}, false},
		"on loopback, IPv6":          {[]string{"--enable-profiling", "--profiler-address=[::1]:6060"}, false},
		"on all addresses":           {[]string{"--enable-profiling", "--profiler-address=:6060"}, true},
		"on all of IPv4":             {[]string{"--enable-profiling", "--profiler-address=0.0.0.0:6060"}, true},
		"on another address":         {[]string{"--enable-profiling", "--profiler-address=192.0.2.1:6060"}, true},
		"on a name":                  {[]string{"--enable-profiling", "--profiler-address=localhost.example.com:6060"}, true},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			o, err := complete(t, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			o.warnOfProfiling(setUpLogging(&out, "text", 0))
			if warned := strings.Contains(out.String(), "WARNING"); warned != test.warned {
				t.Errorf("logged %q", &out)
			}
		})
	}
}
