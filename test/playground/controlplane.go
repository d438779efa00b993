// Package playground runs caject as a cluster would, without a cluster: a real etcd and kube-apiserver, the chart
// installed by helm, and the caject binary under the token of the chart's ServiceAccount, called by the API server
// through the chart's Service. There is no kubelet; the binary runs beside the API server, with the arguments of the
// chart's Deployment.
package playground

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Root returns the project's top folder, found upwards from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "charts", "caject", "Chart.yaml")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside the caject project: no charts/caject upwards of the working directory")
		}
		dir = parent
	}
}

// ControlPlane is a running etcd and kube-apiserver; with AddAPIServers, several of those.
type ControlPlane struct {
	// Config is the admin's.
	Config *rest.Config
	// Kubeconfig is a file with the same in it.
	Kubeconfig string
	// Dir is where its files are; AuditLog among them.
	Dir string

	env     *envtest.Environment
	root    string
	servers *APIServers // nil if there is one API server alone
}

// silence says that envtest is to log nowhere, or it complains that nobody has told it. Several control planes may start at once.
var silence sync.Once

// StartControlPlane starts etcd and kube-apiserver. The files go to dir, which exists; the logs to dir/*.log. configure changes how
// kube-apiserver starts.
func StartControlPlane(root, dir string, configure ...func(*envtest.APIServer)) (*ControlPlane, error) {
	silence.Do(func() { log.SetLogger(logr.Discard()) })
	env := &envtest.Environment{
		BinaryAssetsDirectory:    filepath.Join(root, "bin"),
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	// With a folder of its own, the API server comes back from Stop and Start with the same certificates.
	certDir := filepath.Join(dir, "apiserver")
	if err := os.MkdirAll(certDir, 0o700); err != nil {
		return nil, err
	}
	apiServer := env.ControlPlane.GetAPIServer()
	apiServer.CertDir = certDir
	if err := auditCaject(apiServer, dir); err != nil {
		return nil, err
	}
	// Likewise etcd, with its data.
	data := filepath.Join(dir, "etcd")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	var port, secure int
	err := FreePorts(&port, &secure)
	if err != nil {
		return nil, err
	}
	if env.ControlPlane.Etcd, err = newEtcd(data, &url.URL{Scheme: "http", Host: loopback(port)}); err != nil {
		return nil, err
	}
	apiServer.SecureServing.Address, apiServer.SecureServing.Port = "127.0.0.1", strconv.Itoa(secure)
	apiServerLog, err := os.Create(filepath.Join(dir, "kube-apiserver.log"))
	if err != nil {
		return nil, err
	}
	apiServer.Out, apiServer.Err = apiServerLog, apiServerLog
	for _, change := range configure {
		change(apiServer)
	}
	config, err := env.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane (its log is %s; `make assets` builds the programs): %w", apiServerLog.Name(), err), env.Stop())
	}
	c := &ControlPlane{Config: config, Kubeconfig: filepath.Join(dir, "kubeconfig"), Dir: dir, env: env, root: root}
	if err := os.WriteFile(c.Kubeconfig, env.KubeConfig, 0o600); err != nil {
		return nil, errors.Join(err, env.Stop())
	}
	return c, nil
}

// newEtcd returns an etcd that is not started, with data in a folder, to serve at a URL.
func newEtcd(data string, at *url.URL) (*envtest.Etcd, error) {
	var peer int
	if err := FreePorts(&peer); err != nil {
		return nil, err
	}
	etcd := &envtest.Etcd{DataDir: data, URL: at}
	etcd.Configure().Set("listen-peer-urls", "http://"+loopback(peer))
	return etcd, nil
}

// Configure changes how kube-apiserver starts from the next time on.
func (c *ControlPlane) Configure(change func(*envtest.APIServer)) {
	change(c.env.ControlPlane.GetAPIServer())
}

// Entrance is the admin's Config, to the balancer if there are several API servers.
func (c *ControlPlane) Entrance() *rest.Config {
	config := rest.CopyConfig(c.Config)
	if c.servers != nil {
		config.Host = c.servers.Host()
	}
	return config
}

// WriteUser makes a user of those groups, and writes a kubeconfig with a client certificate of it to path.
func (c *ControlPlane) WriteUser(path, name string, groups ...string) error {
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, nil)
	if err != nil {
		return err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return err
	}
	return os.WriteFile(path, kubeconfig, 0o600)
}

// Stop ends all programs and removes etcd's data.
func (c *ControlPlane) Stop() error {
	var err error
	if c.servers != nil {
		err = c.servers.stop()
	}
	return errors.Join(err, c.env.Stop(), os.RemoveAll(c.env.ControlPlane.Etcd.DataDir))
}

// program returns the path of one of the control plane's programs.
func (c *ControlPlane) program(name string) string {
	for _, dir := range []string{os.Getenv("KUBEBUILDER_ASSETS"), filepath.Join(c.root, "bin")} {
		if path := filepath.Join(dir, name); dir != "" {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	return name
}

// Output is what a command printed.
type Output struct{ Stdout, Stderr string }

// Kubectl runs kubectl as the admin, with input on its standard input. The error holds what it printed.
func (c *ControlPlane) Kubectl(ctx context.Context, input string, args ...string) (Output, error) {
	return run(ctx, input, c.program("kubectl"), append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
}

// Helm runs helm as the admin. Its own files go to the control plane's folder.
func (c *ControlPlane) Helm(ctx context.Context, args ...string) (Output, error) {
	return run(ctx, "", c.program("helm"), c.helmArgs(args)...)
}

func run(ctx context.Context, input, program string, args ...string) (Output, error) {
	command := exec.CommandContext(ctx, program, args...)
	var stdout, stderr strings.Builder
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &stdout, &stderr
	err := command.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, stderr.String())
	}
	return Output{Stdout: stdout.String(), Stderr: stderr.String()}, err
}
