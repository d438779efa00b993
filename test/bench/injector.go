package bench

import (
	"context"
	"errors"
	"time"

	"github.com/caject/caject/test/playground"
)

// injector is caject or cainjector, installed in a cluster.
type injector struct {
	subject Subject
	meter   *meter
	process *playground.Process // nil while it does not run
	start   func() (*playground.Process, error)
}

// installCaject installs the chart.
func installCaject(ctx context.Context, c *cluster, program string) (*injector, error) {
	installation, err := playground.Install(ctx, c.ControlPlane)
	if err != nil {
		return nil, err
	}
	metered := c.path("caject-metered.kubeconfig")
	i := &injector{subject: Caject, start: func() (*playground.Process, error) {
		return installation.Start(program, c.path("caject.log"), "--kubeconfig="+metered) // the last one counts
	}}
	if i.meter, err = newMeter(installation.Kubeconfig, metered); err != nil {
		return nil, err
	}
	return i, nil
}

// installCainjector installs what cert-manager's chart has for its cainjector.
func installCainjector(ctx context.Context, c *cluster, program string) (*injector, error) {
	kubeconfig, err := playground.InstallCainjector(ctx, c.ControlPlane)
	if err != nil {
		return nil, err
	}
	metered := c.path("cainjector-metered.kubeconfig")
	i := &injector{subject: Cainjector, start: func() (*playground.Process, error) {
		return playground.StartProcess([]string{program, "--kubeconfig=" + metered}, 0, c.path("cainjector.log"))
	}}
	if i.meter, err = newMeter(kubeconfig, metered); err != nil {
		return nil, err
	}
	return i, nil
}

// run starts it.
func (i *injector) run() (err error) {
	i.process, err = i.start()
	return err
}

// end ends it, if it runs.
func (i *injector) end() error {
	if i.process == nil {
		return nil
	}
	err := i.process.Stop()
	i.process = nil
	return err
}

// log is what it has logged last.
func (i *injector) log() string {
	if i.process == nil {
		return ""
	}
	const most = 4000
	log := i.process.ReadLog()
	return log[max(0, len(log)-most):]
}

// use is what API server and injector have used so far.
type use struct {
	apiServer, injector time.Duration // of CPU
	read                int64         // by the injector, in bytes
}

// use reads it; that of an injector that does not run is zero.
func (s *session) use() (u use, err error) {
	u.apiServer, err = s.cpu()
	if s.injector != nil {
		u.read = s.injector.meter.Read()
	}
	if s.injector != nil && s.injector.process != nil {
		var also error
		u.injector, also = s.injector.process.CPU()
		err = errors.Join(err, also)
	}
	return u, err
}

// since is what was used between two moments.
func (u use) since(before use) use {
	return use{apiServer: u.apiServer - before.apiServer, injector: u.injector - before.injector, read: u.read - before.read}
}
