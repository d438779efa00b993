package main

import (
	"net"

	"github.com/go-logr/logr"
)

// warnOfProfiling logs that profiles are served to more than this machine. It is not refused: cert-manager's cainjector,
// whose flags these are, does not, and a caject that takes its place is to start.
func (o *options) warnOfProfiling(log logr.Logger) {
	if address := o.profilerBindAddress(); address != "" && !onLoopback(address) {
		log.Info("WARNING: profiles are served to everyone who reaches this address", "address", address)
	}
}

// onLoopback reports that host:port is reached from this machine alone. A host name but localhost is not looked up, and
// taken for one that others reach.
func onLoopback(address string) bool {
	host, _, err := splitAddress(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
