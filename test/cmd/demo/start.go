package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caject/caject/test/node"
	"github.com/caject/caject/test/playground"
)

// running is caject, wherever it runs.
type running interface {
	Signal(os.Signal) error
	Memory() (playground.Memory, error)
	ReadLog() string
}

// startProcess starts a control plane, and caject beside it. stop ends both.
func (d *demo) startProcess(ctx context.Context, root, dir string) (stop func() error, err error) {
	if d.control, err = playground.StartControlPlane(root, dir); err != nil {
		return nil, err
	}
	if d.client, err = playground.NewClient(d.control.Config); err != nil {
		return nil, errors.Join(err, d.control.Stop())
	}
	d.line("started etcd and kube-apiserver")
	installation, err := playground.Install(ctx, d.control)
	if err != nil {
		return nil, errors.Join(err, d.control.Stop())
	}
	d.line("helm install caject charts/caject")
	process, err := installation.Start(filepath.Join(root, "bin", "caject"), filepath.Join(dir, "caject.log"))
	if err != nil {
		return nil, errors.Join(err, d.control.Stop())
	}
	stop = func() error { return errors.Join(process.Stop(), d.control.Stop()) }
	if err := process.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, stop())
	}
	d.caject = process
	d.line("started caject: made its CA, filled its own webhook configuration, ready")
	return stop, nil
}

// onNode says whether a node can be started here: its programs are built, and the machine has what it needs.
func onNode(root string) bool {
	_, err := os.Stat(filepath.Join(root, "bin", "node", "caject.tar"))
	return err == nil && node.Check() == nil
}

// startPods starts a node, on which the chart runs caject as pods. stop ends it.
func (d *demo) startPods(ctx context.Context, root, dir string) (stop func() error, err error) {
	n, err := node.Start(ctx, root, dir, node.IPv4)
	if err != nil {
		return nil, err
	}
	d.control = n.ControlPlane
	if d.client, err = playground.NewClient(n.Config); err != nil {
		return nil, errors.Join(err, n.CutPower())
	}
	d.line("started a Kubernetes node: etcd, kube-apiserver, controller manager, scheduler, kubelet, kube-proxy, containerd")
	if err := n.Install(ctx); err != nil {
		return nil, errors.Join(err, n.CutPower())
	}
	d.caject = pods{n}
	// kube-proxy learns of pods a little after those who wait for them.
	if err := playground.Sleep(ctx, 2*time.Second); err != nil {
		return nil, errors.Join(err, n.CutPower())
	}
	d.line("helm install caject charts/caject --wait: two pods are ready")
	return n.CutPower, nil
}

// pods are caject's on a node.
type pods struct{ node *node.Node }

// Signal sends a signal to the processes of all.
func (p pods) Signal(s os.Signal) error {
	pids, err := p.node.Processes("/caject", "")
	if err != nil {
		return err
	}
	for _, pid := range pids {
		err = errors.Join(err, syscall.Kill(pid, s.(syscall.Signal)))
	}
	return err
}

// Memory returns that of one of them.
func (p pods) Memory() (playground.Memory, error) {
	pids, err := p.node.Processes("/caject", "")
	if err != nil || len(pids) == 0 {
		return playground.Memory{}, errors.Join(err, errors.New("no process of caject is to be found"))
	}
	return playground.MemoryOf(pids[0])
}

// ReadLog returns what all have logged.
func (p pods) ReadLog() string {
	out, err := p.node.Kubectl(context.Background(), "", "--namespace", playground.Namespace, "logs", "--selector", "app.kubernetes.io/name=caject", "--prefix")
	if err != nil {
		return err.Error()
	}
	return out.Stdout
}
