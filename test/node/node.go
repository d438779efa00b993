package node

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/caject/caject/test/playground"
)

const (
	// Name is what the node is called.
	Name = "node"
	// pause is the image that holds a pod's namespaces. The one built from source has that name.
	pause = "registry.k8s.io/pause:3.10"
	// socket is containerd's.
	socket = "/run/containerd/containerd.sock"
	// port is the API server's.
	port = "6443"
	// patience is for what takes seconds.
	patience = 2 * time.Minute
)

//go:embed files
var files embed.FS

// Node is a running cluster of one machine.
type Node struct {
	*playground.ControlPlane
	// Root is the project.
	Root string

	addresses addresses
	cgroup    string
	programs  map[string]*playground.Process
	starts    int // of the machine
}

// Start starts a node, in namespaces that Enter has made, and returns once it is ready. Its files go to dir, which exists; what the programs
// log is in dir/*.log.
func Start(ctx context.Context, root, dir string, family Family) (*Node, error) {
	n := &Node{Root: root, addresses: networks[family], programs: map[string]*playground.Process{}}
	var err error
	if n.cgroup, err = makeCgroup(); err != nil {
		return nil, err
	}
	if err := mount(dir); err != nil {
		return nil, err
	}
	if err := setHostname(Name); err != nil {
		return nil, err
	}
	if err := n.addresses.connect(ctx); err != nil {
		return nil, err
	}
	if err := n.certify(filepath.Join(dir, "apiserver")); err != nil {
		return nil, err
	}
	n.ControlPlane, err = playground.StartControlPlane(root, dir, n.serve)
	if err != nil {
		return nil, err
	}
	if err := n.configure(); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	if err := n.run(ctx); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

// certify writes the certificate of the API server, which pods reach by the address of a Service, and the key that signs tokens, to dir.
func (n *Node) certify(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	addresses := []net.IP{n.addresses.kubernetes().AsSlice(), net.IPv4(127, 0, 0, 1)}
	names := []string{"localhost", "kubernetes.default.svc"}
	for _, name := range []string{"apiserver", "sa-signer"} {
		certificate, key, err := cert.GenerateSelfSignedCertKey(n.addresses.node.Addr().String(), addresses, names)
		if err != nil {
			return err
		}
		if err := errors.Join(cert.WriteCert(filepath.Join(dir, name+".crt"), certificate), os.WriteFile(filepath.Join(dir, name+".key"), key, 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// serve makes the API server one of a cluster with nodes.
func (n *Node) serve(a *envtest.APIServer) {
	a.SecureServing.Address, a.SecureServing.Port = n.addresses.node.Addr().String(), port
	if ca, err := os.ReadFile(filepath.Join(a.CertDir, "apiserver.crt")); err == nil {
		a.SecureServing.CA = ca
	}
	a.Configure().
		Set("advertise-address", n.addresses.node.Addr().String()).
		Set("service-cluster-ip-range", n.addresses.services.String()).
		Set("service-account-issuer", "https://kubernetes.default.svc").
		Set("authorization-mode", "Node", "RBAC").
		Set("enable-admission-plugins", "NodeRestriction").
		Set("kubelet-preferred-address-types", "InternalIP").
		Disable("disable-admission-plugins")
}

// configure writes the files that the node's programs read, kubeconfigs included.
func (n *Node) configure() error {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	for _, folder := range []string{"network", "kubelet", "containerd", "volumeplugins"} {
		if err := os.MkdirAll(filepath.Join(n.Dir, folder), 0o755); err != nil {
			return err
		}
	}
	values := map[string]any{
		"Dir": n.Dir, "Cgroup": n.cgroup, "Address": n.addresses.node.Addr(), "Pods": n.addresses.pods,
		"DNS": n.addresses.kubernetes().Next(), "Pause": pause, "Programs": n.path(""), "Runc": runc,
	}
	all, err := template.ParseFS(files, "files/*")
	if err != nil {
		return err
	}
	for name, to := range map[string]string{
		"kubelet.yaml": "kubelet.yaml", "proxy.yaml": "proxy.yaml", "containerd.toml": "containerd.toml", "network.conflist": "network/network.conflist",
	} {
		file, err := os.Create(filepath.Join(n.Dir, to))
		if err != nil {
			return err
		}
		if err := errors.Join(all.ExecuteTemplate(file, name, values), file.Close()); err != nil {
			return err
		}
	}
	return errors.Join(
		n.WriteUser(n.kubeconfig("kubelet"), "system:node:"+Name, "system:nodes"),
		n.WriteUser(n.kubeconfig("kube-proxy"), "system:kube-proxy"),
		n.WriteUser(n.kubeconfig("kube-controller-manager"), "system:kube-controller-manager"),
		n.WriteUser(n.kubeconfig("kube-scheduler"), "system:kube-scheduler"),
	)
}

func (n *Node) kubeconfig(program string) string {
	return filepath.Join(n.Dir, program+".kubeconfig")
}

// path returns where one of the node's programs is.
func (n *Node) path(program string) string { return filepath.Join(n.Root, "bin", "node", program) }

// Exec runs a program of the machine.
func (n *Node) Exec(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %v: %w: %s", program, args, err, out)
	}
	return string(out), err
}
