package node

import (
	"io"
	"net"
	"os"
	"sync"

	"k8s.io/client-go/tools/clientcmd"
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
	go func() {
		for {
			caller, err := door.Accept()
			if err != nil {
				return
			}
			go n.lead(caller)
		}
	}()
	return nil
}

// lead copies bytes between a caller and the API server until one of them is done.
func (n *Node) lead(caller net.Conn) {
	defer caller.Close()
	callee, err := net.Dial("tcp", net.JoinHostPort(n.addresses.node.Addr().String(), port))
	if err != nil {
		return
	}
	defer callee.Close()
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // it ends when one side does
		_ = to.Close()
	}
	both.Go(func() { pass(callee, caller) })
	both.Go(func() { pass(caller, callee) })
	both.Wait()
}
