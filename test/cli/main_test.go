// Package cli tests kubectl caject, as it is built, on a real API server: what it prints, its exit codes, and what it says to those who may
// read little.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// timeout is generous: no test is about time.
const timeout = 30 * time.Second

// namespace is where tests put their Secrets.
const namespace = "cli"

var (
	// caject and plugin are the programs.
	caject, plugin string
	// shared is the cluster that most tests work with, at the same time.
	shared *cluster
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "caject-cli-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	root, err := playground.Root()
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	caject, plugin = filepath.Join(dir, "caject"), filepath.Join(dir, "kubectl-caject")
	if err := playground.BuildCaject(ctx, root, caject, "-race"); err != nil {
		return 1, err
	}
	if err := playground.BuildPlugin(ctx, root, plugin); err != nil {
		return 1, err
	}
	if err := os.Mkdir(filepath.Join(dir, "shared"), 0o700); err != nil {
		return 1, err
	}
	if shared, err = startCluster(root, filepath.Join(dir, "shared")); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.control.Stop()) }()
	// The interval is short, so that what is wrong on purpose is put right soon.
	if err := shared.install(ctx, "resyncInterval=1s"); err != nil {
		return 1, err
	}
	process, err := shared.start(ctx)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, process.Stop()) }()
	return m.Run(), nil
}

// cluster is a control plane on which caject may be installed.
type cluster struct {
	*playground.Installation // nil before the install
	control                  *playground.ControlPlane
	client                   client.WithWatch // the admin's
}

func startCluster(root, dir string) (*cluster, error) {
	control, err := playground.StartControlPlane(root, dir)
	if err != nil {
		return nil, err
	}
	c := &cluster{control: control}
	if c.client, err = playground.NewClient(control.Config); err == nil {
		err = c.client.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	if err != nil {
		return nil, errors.Join(err, control.Stop())
	}
	return c, nil
}

// own starts a cluster that a test has for itself, without caject.
func own(t *testing.T) *cluster {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	c, err := startCluster(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.control.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// install installs the chart, with values (helm's --set).
func (c *cluster) install(ctx context.Context, values ...string) (err error) {
	c.Installation, err = playground.Install(ctx, c.control, values...)
	return err
}

// start runs caject, and returns once it is ready.
func (c *cluster) start(ctx context.Context) (*playground.Process, error) {
	process, err := c.Start(caject, filepath.Join(c.control.Dir, "caject.log"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := process.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, process.Stop())
	}
	return process, nil
}

// running runs caject until the test ends, if the test does not stop it before.
func (c *cluster) running(t *testing.T) *playground.Process {
	t.Helper()
	process, err := c.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(process.ReadLog())
		}
	})
	return process
}

// run runs the plugin on the cluster, as the admin if args name no other kubeconfig. The exit code is that of the program.
func (c *cluster) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	command := exec.CommandContext(t.Context(), plugin, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.control.Kubeconfig)
	command.Stdout, command.Stderr = &out, &errOut
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), command.ProcessState.ExitCode()
}

// run runs the plugin on the shared cluster.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return shared.run(t, args...)
}

// kubeconfigOf returns the path of a kubeconfig of a user who has the given rights in the shared cluster, in all namespaces, and no others
// but those that everybody has.
func kubeconfigOf(t *testing.T, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	return shared.kubeconfigOf(t, rules...)
}

func (c *cluster) kubeconfigOf(t *testing.T, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	user := fmt.Sprintf("user%d", time.Now().UnixNano())
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.control.WriteUser(path, user); err != nil {
		t.Fatal(err)
	}
	c.create(t,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})
	return path
}

// create creates objects, and deletes them when the test ends.
func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.client.Delete(context.WithoutCancel(t.Context()), object); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		})
	}
}

// eventually fails the test unless condition gets true.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	if err := playground.Eventually(t.Context(), timeout, 100*time.Millisecond, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
