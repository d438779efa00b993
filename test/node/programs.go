package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/caject/caject/test/playground"
)

// The node's programs, as they are started.
const (
	containerd = "containerd"
	kubelet    = "kubelet"
)

var order = []string{containerd, "kube-controller-manager", "kube-scheduler", kubelet, "kube-proxy"}

// run starts the node's programs beside a running API server, and returns once the node is ready.
func (n *Node) run(ctx context.Context) error {
	n.starts++
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.allowProxy(ctx); err != nil {
		return err
	}
	for _, program := range order {
		if err := n.StartProgram(ctx, program); err != nil {
			return err
		}
		if program == containerd {
			if err := n.importImages(ctx); err != nil {
				return err
			}
		}
	}
	// When the machine comes back, the node is called ready until it has been missed.
	began := time.Now()
	return n.until(ctx, "the node is ready", func(ctx context.Context) error {
		_, err := n.Kubectl(ctx, "", "wait", "--for=condition=Ready", "node/"+Name, "--timeout=1s")
		if err == nil && n.starts > 1 && time.Since(began) < 5*time.Second {
			return errors.New("it may not have noticed yet")
		}
		return err
	})
}

// args returns the arguments of a program.
func (n *Node) args(program string) []string {
	keys := filepath.Join(n.Dir, "apiserver")
	switch program {
	case containerd:
		return []string{"--config", filepath.Join(n.Dir, "containerd.toml")}
	case kubelet:
		return []string{
			"--config=" + filepath.Join(n.Dir, "kubelet.yaml"), "--kubeconfig=" + n.kubeconfig(program), "--root-dir=" + filepath.Join(n.Dir, "kubelet"),
			"--hostname-override=" + Name, "--node-ip=" + n.addresses.node.Addr().String(),
		}
	case "kube-proxy":
		return []string{"--config=" + filepath.Join(n.Dir, "proxy.yaml")}
	case "kube-scheduler":
		return []string{"--kubeconfig=" + n.kubeconfig(program), "--leader-elect=false"}
	}
	return []string{
		"--kubeconfig=" + n.kubeconfig(program), "--leader-elect=false",
		// Each controller with rights of its own.
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + filepath.Join(keys, "sa-signer.key"), "--root-ca-file=" + filepath.Join(keys, "apiserver.crt"),
		"--node-monitor-grace-period=20s",
	}
}

// StartProgram starts one of the node's programs.
func (n *Node) StartProgram(ctx context.Context, program string) error {
	if path := n.path(""); !slices.Contains(filepath.SplitList(os.Getenv("PATH")), path) {
		// containerd looks for its shim there.
		if err := os.Setenv("PATH", path+string(filepath.ListSeparator)+os.Getenv("PATH")); err != nil {
			return err
		}
	}
	process, err := playground.StartProcess(append([]string{n.path(program)}, n.args(program)...), 0, filepath.Join(n.Dir, program+".log"))
	if err != nil {
		return fmt.Errorf("%w (`make node` builds the programs)", err)
	}
	n.programs[program] = process
	if program != containerd {
		return nil
	}
	// The kubelet gives up if nobody listens there yet.
	return n.until(ctx, "containerd answers", func(ctx context.Context) error {
		_, err := n.containerd(ctx, "version")
		return err
	})
}

// KillProgram ends one of the node's programs at once.
func (n *Node) KillProgram(program string) error {
	process := n.programs[program]
	if err := process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = process.Wait() // it was killed
	return nil
}

// CutPower ends all that runs on the machine at once. The disk stays.
func (n *Node) CutPower() error {
	if err := errors.Join(n.KillAPIServer(), n.KillEtcd(), endAll()); err != nil {
		return err
	}
	for _, process := range n.programs {
		_ = process.Wait() // it was killed
	}
	return forget(n.Dir)
}

// PowerOn starts all again, and returns once the node is ready.
func (n *Node) PowerOn(ctx context.Context) error {
	if err := n.StartEtcd(); err != nil {
		return err
	}
	if err := n.StartAPIServer(); err != nil {
		return err
	}
	return n.run(ctx)
}

// Install installs the chart as it is, and returns once caject's pods are ready.
func (n *Node) Install(ctx context.Context) error {
	_, err := n.Helm(ctx, "install", "caject", filepath.Join(n.Root, "charts", "caject"),
		"--namespace", playground.Namespace, "--create-namespace", "--wait", "--timeout", patience.String())
	return err
}

// Stop ends the API server and etcd. The rest ends with the namespaces.
func (n *Node) Stop() error { return errors.Join(n.KillAPIServer(), n.ControlPlane.Stop()) }

// containerd runs ctr.
func (n *Node) containerd(ctx context.Context, args ...string) (string, error) {
	return n.Exec(ctx, n.path("ctr"), append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)...)
}

// importImages gives containerd the images in bin/node.
func (n *Node) importImages(ctx context.Context) error {
	archives, err := filepath.Glob(n.path("*.tar"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if _, err := n.containerd(ctx, "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// allowProxy gives kube-proxy its rights: the API server has a role for them, but binds it to nobody.
func (n *Node) allowProxy(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(n.Config)
	if err != nil {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:node-proxier"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:kube-proxy"}},
	}
	_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// until asks until there is no error, or ctx ends.
func (n *Node) until(ctx context.Context, what string, ask func(context.Context) error) error {
	if err := playground.Eventually(ctx, patience, 100*time.Millisecond, ask); err != nil {
		return fmt.Errorf("%s: %w (logs are in %s)", what, err, n.Dir)
	}
	return nil
}
