package node

import (
	"net"
	"os"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/caject/caject/test/playground"
)

// Open lets those outside the node's network reach its API server, on loopback, and writes the admin's kubeconfig for them to path. It ends
// with the process.
func (n *Node) Open(path string) error {
	door, err := net.FileListener(os.NewFile(doorFile, "door"))
	if err != nil {
		return err
	}
	config, err := clientcmd.LoadFromFile(n.Kubeconfig)
	if err != nil {
		return err
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + door.Addr().String()
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return err
	}
	go playground.Relay(door, net.JoinHostPort(n.addresses.node.Addr().String(), port))
	return nil
}
