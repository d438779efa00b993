// Command playground keeps a control plane with the chart and caject running: make up, make down.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caject/caject/test/playground"
)

const usage = "usage: playground up [-node=yes] [-caject=no] [-replicas=n] [-apiservers=n] | serve [-caject=no] [-replicas=n] [-apiservers=n] | node | down"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "playground:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet("playground", flag.ContinueOnError)
	caject := flags.String("caject", "yes", "yes or no: whether to start caject, too")
	node := flags.String("node", "no", "yes: have a node, with caject as pods; the other flags mean nothing then")
	replicas := flags.Int("replicas", 1, "how many caject to start")
	apiServers := flags.Int("apiservers", 1, "how many kube-apiservers to start")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	root, err := playground.Root()
	if err != nil {
		return err
	}
	p := files(filepath.Join(root, ".run"))
	switch args[0] {
	case "up":
		if *node == "yes" {
			return up(ctx, p, "node")
		}
		return up(ctx, p, "serve", "-caject="+*caject, fmt.Sprintf("-replicas=%d", *replicas), fmt.Sprintf("-apiservers=%d", *apiServers))
	case "serve":
		if *caject == "no" {
			*replicas = 0
		}
		return serve(ctx, root, p, *replicas, *apiServers)
	case "node":
		return serveNode(ctx, root, p)
	case "down":
		return down(ctx, p)
	}
	return errors.New(usage)
}

// files is the folder that tells others about a running playground.
type files string

func (f files) path(name string) string { return filepath.Join(string(f), name) }

// pid returns the process number in a file, if that process runs.
func (f files) pid(name string) (int, bool) {
	text, err := os.ReadFile(f.path(name))
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid, err == nil && syscall.Kill(pid, 0) == nil
}

func (f files) write(name, text string) error {
	return os.WriteFile(f.path(name), []byte(text), 0o600)
}

// serve says that the playground is ready, and returns when ctx ends.
func (f files) serve(ctx context.Context, summary string) error {
	// Written under another name first: whoever waits for it sees it whole.
	if err := f.write("ready.tmp", summary+"\nmake down ends it.\n"); err != nil {
		return err
	}
	if err := os.Rename(f.path("ready.tmp"), f.path("ready")); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// up starts this program with args in the background, and returns once it is ready.
func up(ctx context.Context, f files, args ...string) error {
	if pid, ok := f.pid("playground.pid"); ok {
		return fmt.Errorf("one is running already (process %d); make down ends it", pid)
	}
	if err := os.RemoveAll(string(f)); err != nil {
		return err
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	log, err := os.Create(f.path("playground.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.Command(self, args...)
	server.Stdout, server.Stderr = log, log
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives this command and its terminal
	if err := server.Start(); err != nil {
		return err
	}
	if err := f.write("playground.pid", strconv.Itoa(server.Process.Pid)+"\n"); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	for {
		if summary, err := os.ReadFile(f.path("ready")); err == nil {
			fmt.Print(string(summary))
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("it did not start: %v\n%s", err, text)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), server.Process.Signal(syscall.SIGTERM))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// serve runs a playground, with so many caject and API servers, until ctx ends.
func serve(ctx context.Context, root string, f files, replicas, apiServers int) (err error) {
	control, err := playground.StartControlPlane(root, string(f))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, control.Stop()) }()
	several, err := addAPIServers(control, apiServers-1)
	if err != nil {
		return err
	}
	installation, err := playground.Install(ctx, control)
	if err != nil {
		return err
	}
	program := filepath.Join(root, "bin", "caject")
	if err := f.write("caject.args", strings.Join(installation.Command(program), "\n")+"\n"); err != nil {
		return err
	}
	summary := fmt.Sprintf(`The playground is up. Its files are in .run:

  export KUBECONFIG=%s
  kubectl is %s

  kubeconfig         the admin's
  caject.kubeconfig  caject's own: the token of the chart's ServiceAccount
  caject.args        the command line of caject, one argument a line, the program first
`, control.Kubeconfig, filepath.Join(root, "bin", "kubectl")) + several
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	switch {
	case replicas == 1:
		process, err := installation.Start(program, f.path("caject.log"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, process.Stop()) }()
		if err := errors.Join(f.write("caject.pid", strconv.Itoa(process.Pid())+"\n"), process.WaitReady(wait)); err != nil {
			return err
		}
		summary += "  caject.pid         its process; caject.log is what it logs\n"
	case replicas > 1:
		all, err := playground.NewReplicas(installation)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, all.Stop()) }()
		for n := range replicas {
			replica, err := all.Start(program, string(f))
			if err != nil {
				return err
			}
			if err := f.write(fmt.Sprintf("caject-%d.pid", n), strconv.Itoa(replica.Pid())+"\n"); err != nil {
				return err
			}
			summary += fmt.Sprintf("  caject-%d.pid       the process of replica %d; caject-%d.log is what it logs; /readyz and /livez are on port %d\n",
				n, n, n, replica.HealthPort)
		}
		if err := all.WaitReady(wait); err != nil {
			return err
		}
		summary += fmt.Sprintf("  A balancer on port %d has the API server's calls taken to those that are ready.\n", installation.WebhookPort)
	}
	return f.serve(ctx, summary)
}

// addAPIServers starts n more API servers, and returns what the summary says of them.
func addAPIServers(control *playground.ControlPlane, n int) (summary string, err error) {
	if n < 1 {
		return "", nil
	}
	servers, err := control.AddAPIServers(n)
	if err != nil {
		return "", err
	}
	summary = fmt.Sprintf("\n  The API server of kubeconfig is at %s.\n", control.Config.Host)
	for _, server := range servers.All()[1:] {
		summary += fmt.Sprintf("  That of %s, on the same etcd, is at %s, its process %d.\n", filepath.Base(server.Kubeconfig), server.Config.Host, server.Pid())
	}
	return summary + fmt.Sprintf("  caject reaches all of them through a balancer at %s.\n\n", servers.Host()), nil
}

// down ends the playground and removes its files.
func down(ctx context.Context, f files) error {
	pid, ok := f.pid("playground.pid")
	if !ok {
		fmt.Println("No playground is running.")
		return os.RemoveAll(string(f))
	}
	// Somebody may have restarted caject by hand, and noted it, or have frozen it.
	noted, err := filepath.Glob(f.path("caject*.pid"))
	if err != nil {
		return err
	}
	for _, file := range noted {
		if caject, ok := f.pid(filepath.Base(file)); ok {
			_ = syscall.Kill(caject, syscall.SIGTERM)
			_ = syscall.Kill(caject, syscall.SIGCONT)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	for {
		if _, running := f.pid("playground.pid"); !running {
			fmt.Println("The playground is down.")
			return os.RemoveAll(string(f))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
