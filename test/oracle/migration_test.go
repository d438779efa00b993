package oracle

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// cluster does the work of the kubelet: it runs, for the Deployments that an injector may have, the program that their
// image stands for.
type cluster struct {
	*world
	t            *testing.T
	installation *playground.Installation // of caject's chart
	running      map[string]*playground.Process
	images       map[string]string
}

// image is what CAJECT_IMAGE is in the test.
const image = "registry.example.com/caject"

// reconcile starts and stops programs as the Deployments say.
func (c *cluster) reconcile() {
	c.t.Helper()
	starts := map[string]func(program string) (*playground.Process, error){
		"caject/caject": func(program string) (*playground.Process, error) {
			if err := c.installation.Read(c.t.Context(), c.control); err != nil {
				return nil, err
			}
			process, err := c.installation.Start(program, filepath.Join(c.control.Dir, "caject.log"))
			if err == nil {
				err = process.WaitReady(c.t.Context())
			}
			return process, err
		},
		"cert-manager/cert-manager-cainjector": func(program string) (*playground.Process, error) {
			start, err := c.readCainjector(c.t.Context(), program)
			if err != nil {
				return nil, err
			}
			if program == cajectProgram {
				return start("--health-listen-address=0", "--metrics-listen-address=0")
			}
			return start("--metrics-listen-address=0")
		},
	}
	for name, start := range starts {
		namespace, deployment, _ := strings.Cut(name, "/")
		wanted := ""
		pod, err := c.control.Pod(c.t.Context(), namespace, deployment)
		if client.IgnoreNotFound(err) != nil {
			c.t.Fatal(err)
		}
		if !apierrors.IsNotFound(err) {
			wanted = pod.Containers[0].Image
		}
		if wanted == c.images[name] {
			continue
		}
		if process := c.running[name]; process != nil {
			if err := process.Stop(); err != nil {
				c.t.Fatal(err)
			}
			delete(c.running, name)
		}
		c.images[name] = wanted
		if wanted == "" {
			continue
		}
		program := cainjectorProgram
		if strings.HasPrefix(wanted, image) {
			program = cajectProgram
		}
		c.t.Logf("%s runs %s", name, filepath.Base(program))
		if c.running[name], err = start(program); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestMigration runs the commands of docs/migration.md one after the other. After each, all targets must be right, and
// follow a rotation.
func TestMigration(t *testing.T) {
	t.Parallel()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "migration.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllSubmatch(page, -1)
	if len(commands) != 8 {
		t.Fatalf("there are %d commands on the page", len(commands))
	}

	w := empty(t)
	installation, err := playground.NewInstallation(w.control)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{world: w, t: t, installation: installation, running: map[string]*playground.Process{}, images: map[string]string{}}
	t.Cleanup(func() {
		for name, process := range c.running {
			if err := process.Stop(); err != nil {
				t.Error(name, err)
			}
			if t.Failed() {
				t.Logf("%s:\n%s", name, tail(process.ReadLog()))
			}
		}
	})
	shell := newShell(t, root, c)

	// As the page expects it: cert-manager, with its cainjector at work.
	shell(`helm install cert-manager "$CERT_MANAGER_CHART" --namespace cert-manager --set crds.enabled=true --set startupapicheck.enabled=false --take-ownership`)
	c.reconcile()
	// cert-manager's webhook, which does not run here, makes its CA in this Secret.
	w.create(t, playground.NewSecret("cert-manager", "cert-manager-webhook-ca", content("D").bytes()))
	w.create(t, playground.NewSecret(namespace, "moved", content("A").bytes()))
	all := targets("moved")
	w.create(t, all...)
	w.filled(t, all, "A")

	cas := []content{"A", "B"}
	for i, command := range commands {
		out := shell(string(command[1]))
		if strings.Contains(string(command[1]), "get events") && strings.TrimSpace(out) != "" {
			t.Errorf("caject has something to say:\n%s", out)
		}
		if strings.Contains(string(command[1]), "rollout restart") {
			c.images["caject/caject"] = "before"
		}
		c.reconcile()
		next := cas[i%2]
		held := content("A")
		if i > 0 {
			held = "A B"
		}
		w.filled(t, all, held)
		// A is already there: B comes once, and then both stay, whoever is at work.
		w.rotate(t, "moved", next)
		if i == 0 {
			w.rotate(t, "moved", "B")
		}
		fresh := playground.NewValidating(fmt.Sprintf("fresh%d", i), 1, playground.FromSecret(namespace, "fresh"))
		if i == 0 {
			w.create(t, playground.NewSecret(namespace, "fresh", content("C").bytes()))
		}
		w.create(t, fresh)
		w.filled(t, []client.Object{fresh}, "C")
		w.filled(t, all, "A B")
	}
	if image := c.images["cert-manager/cert-manager-cainjector"]; c.images["caject/caject"] != "" || image == "" || strings.Contains(image, "caject") {
		t.Errorf("in the end, these run: %v", c.images)
	}
}

// newShell returns a function that runs a command of the page as somebody at a terminal would, and returns what it prints.
func newShell(t *testing.T, root string, c *cluster) func(command string) string {
	t.Helper()
	chart, err := playground.CertManagerChart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What the playground needs of caject's chart is given by a helm of its own.
	wrapper := "#!/bin/sh\ncase \"$*\" in\n*charts/caject*) exec \"" + filepath.Join(root, "bin", "helm") + "\" \"$@\""
	for _, value := range c.installation.Values() {
		wrapper += " --set " + value
	}
	wrapper += " --set resyncInterval=1s;;\n*) exec \"" + filepath.Join(root, "bin", "helm") + "\" \"$@\";;\nesac\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "helm"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	return func(command string) string {
		t.Helper()
		run := exec.CommandContext(context.WithoutCancel(t.Context()), "bash", "-euo", "pipefail", "-c", command)
		run.Dir = root
		run.Env = append(os.Environ(),
			"PATH="+dir+":"+filepath.Join(root, "bin")+":"+os.Getenv("PATH"),
			"KUBECONFIG="+c.control.Kubeconfig,
			"HELM_CACHE_HOME="+dir, "HELM_CONFIG_HOME="+dir, "HELM_DATA_HOME="+dir,
			"CERT_MANAGER_CHART="+chart, "CAJECT_IMAGE="+image)
		var stdout, stderr bytes.Buffer
		run.Stdout, run.Stderr = &stdout, &stderr
		if err := run.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, stderr.String())
		}
		return stdout.String()
	}
}
