package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// Family is a version of IP.
type Family string

const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// addresses are those of a cluster.
type addresses struct {
	// node is the machine's own, with its network.
	node netip.Prefix
	// pods and services are the networks of both.
	pods, services netip.Prefix
}

var networks = map[Family]addresses{
	IPv4: {
		node: netip.MustParsePrefix("10.10.0.1/24"), pods: netip.MustParsePrefix("10.244.0.0/24"),
		services: netip.MustParsePrefix("10.96.0.0/16"),
	},
	IPv6: {
		node: netip.MustParsePrefix("fd00:10::1/64"), pods: netip.MustParsePrefix("fd00:244::/64"),
		services: netip.MustParsePrefix("fd00:96::/112"),
	},
}

// kubernetes is the address of the Service kubernetes: the first one.
func (a addresses) kubernetes() netip.Addr { return a.services.Addr().Next() }

// connect gives the network namespace an interface and a route. The kernel wants one before it looks at where a Service's address leads.
func (a addresses) connect(ctx context.Context) error {
	forwarding := "/proc/sys/net/ipv4/ip_forward"
	if a.node.Addr().Is6() {
		forwarding = "/proc/sys/net/ipv6/conf/all/forwarding"
	}
	if err := os.WriteFile(forwarding, []byte("1"), 0o644); err != nil {
		return err
	}
	for _, line := range []string{
		"link set lo up",
		"link add eth0 type bridge",
		"addr add " + a.node.String() + " dev eth0",
		"link set eth0 up",
		"route add default dev eth0",
	} {
		args := strings.Fields(line)
		if a.node.Addr().Is6() {
			args = append([]string{"-6"}, args...)
			if args[1] == "addr" {
				args = append(args, "nodad") // nobody answers on a bridge without ports
			}
		}
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}
