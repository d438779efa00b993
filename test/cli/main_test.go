// Package main_test runs kubectl caject as people do, on a real API server beside caject.
package main_test

import (
	"bytes"
	"context"
	"encoding/json"
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

const (
	// timeout is generous: no test is about time.
	timeout = 30 * time.Second
	// namespace is where tests put their Secrets.
	namespace = "cli"
)

// cluster is what all tests work with.
var cluster struct {
	*playground.ControlPlane
	installation *playground.Installation
	client       client.WithWatch // the admin's
	plugin       string           // the file
}

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	root, err := playground.Root()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "caject-cli-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	cluster.plugin = filepath.Join(dir, "kubectl-caject")
	program := filepath.Join(dir, "caject")
	race := []string{"-race"}
	if os.Getenv(targetsVariable) != "" { // it is timed
		race = nil
	}
	err = errors.Join(playground.BuildPlugin(ctx, root, cluster.plugin, race...), playground.BuildCaject(ctx, root, program, race...))
	if err != nil {
		return 1, err
	}
	if cluster.ControlPlane, err = playground.StartControlPlane(root, dir); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if cluster.client, err = playground.NewClient(cluster.Config); err != nil {
		return 1, err
	}
	if cluster.installation, err = playground.Install(ctx, cluster.ControlPlane, "resyncInterval=1s"); err != nil {
		return 1, err
	}
	process, err := cluster.installation.Start(program, filepath.Join(dir, "caject.log"))
	if err != nil {
		return 1, err
	}
	defer func() {
		err = errors.Join(err, process.Stop())
		if code != 0 || err != nil {
			fmt.Printf("caject's log:\n%s\n", process.ReadLog())
		}
	}()
	if err := process.WaitReady(ctx); err != nil {
		return 1, err
	}
	if err := cluster.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// run runs kubectl caject as the admin.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return runAs(t, cluster.Kubeconfig, args...)
}

// runAs runs it as the user of a kubeconfig.
func runAs(t *testing.T, kubeconfig string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	command := exec.CommandContext(t.Context(), cluster.plugin, append([]string{"--kubeconfig", kubeconfig}, args...)...)
	command.Stdout, command.Stderr = &out, &errOut
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), command.ProcessState.ExitCode()
}

// decoded is what a command says as data, to the user of a kubeconfig.
func decoded[T any](t *testing.T, kubeconfig, command string, args ...string) (found *T, code int) {
	t.Helper()
	stdout, stderr, code := runAs(t, kubeconfig, append([]string{command, "--output", "json"}, args...)...)
	found = new(T)
	if err := json.Unmarshal([]byte(stdout), found); err != nil {
		t.Fatalf("%s %q: exit code %d, %v in %s%s", command, args, code, err, stdout, stderr)
	}
	return found, code
}

// decodedWith is decoded, with the exit code that is expected.
func decodedWith[T any](t *testing.T, kubeconfig string, want int, command string, args ...string) *T {
	t.Helper()
	found, code := decoded[T](t, kubeconfig, command, args...)
	if code != want {
		t.Fatalf("%s %q: exit code %d, not %d: %+v", command, args, code, want, found)
	}
	return found
}

// kubeconfigOf returns a kubeconfig of a new user who has the rights of rules, everywhere, and no others.
func kubeconfigOf(t *testing.T, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "user-"}}
	create(t, account)
	name := metav1.ObjectMeta{Name: account.Name}
	create(t,
		&rbacv1.ClusterRole{ObjectMeta: name, Rules: rules},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: name,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: account.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account.Name}},
		})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := cluster.WriteKubeconfig(t.Context(), namespace, account.Name, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// create creates objects, and deletes them when the test ends.
func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := cluster.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cluster.client.Delete(context.WithoutCancel(t.Context()), object); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		})
	}
}

// eventually fails the test unless condition gets true.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	if err := playground.Eventually(t.Context(), timeout, 50*time.Millisecond, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// filled fails the test unless each caBundle of object gets want.
func filled(t *testing.T, object client.Object, want ...[]byte) {
	t.Helper()
	eventually(t, "fill "+object.GetName(), func(ctx context.Context) error {
		if err := cluster.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		return playground.Holds(object, want...)
	})
}
