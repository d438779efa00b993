package main

import (
	"net"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
)

// endpointOptions say where caject is watched: probes, metrics and profiles.
type endpointOptions struct {
	healthListenAddress  string
	metricsListenAddress string
	profiling            bool
	profilerAddress      string
}

func defaultEndpoints() endpointOptions {
	return endpointOptions{healthListenAddress: ":9440", metricsListenAddress: ":9402", profilerAddress: "localhost:6060"}
}

func (e *endpointOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&e.healthListenAddress, "health-listen-address", e.healthListenAddress,
		"Host and port for /livez and /readyz; 0 switches them off.")
	flags.StringVar(&e.metricsListenAddress, "metrics-listen-address", e.metricsListenAddress,
		"Host and port for /metrics; 0 switches it off.")
	flags.BoolVar(&e.profiling, "enable-profiling", e.profiling,
		"Serve /debug/pprof.")
	flags.StringVar(&e.profilerAddress, "profiler-address", e.profilerAddress,
		"With --enable-profiling: host and port for /debug/pprof. Profiles show what is in memory: keep the address on loopback.")
}

func (e *endpointOptions) validate(wrong *mistakes) {
	for flag, address := range map[string]string{
		"health-listen-address": e.healthListenAddress, "metrics-listen-address": e.metricsListenAddress,
	} {
		if _, _, err := splitAddress(address); err != nil && address != "0" {
			wrong.add(flag, "%v", err)
		}
	}
	if _, _, err := splitAddress(e.profilerAddress); err != nil && e.profiling {
		wrong.add("profiler-address", "%v", err)
	}
}

// profilerBindAddress is where profiles are served; empty if nowhere.
func (e *endpointOptions) profilerBindAddress() string {
	if !e.profiling {
		return ""
	}
	return e.profilerAddress
}

// warnOfProfiling logs that profiles are served to more than this machine. It is not refused: cert-manager's cainjector,
// whose flags these are, does not, and a caject that takes its place is to start.
func (e *endpointOptions) warnOfProfiling(log logr.Logger) {
	if address := e.profilerBindAddress(); address != "" && !onLoopback(address) {
		log.Info("WARNING: profiles are served to everyone who reaches this address", "address", address)
	}
}

// onLoopback reports whether host:port is reached from this machine alone. A host name but localhost is not looked up, and
// taken for one that others reach.
func onLoopback(address string) bool {
	host, _, err := splitAddress(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
