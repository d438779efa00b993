package playground

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// KillAPIServer ends kube-apiserver as a power cut would, and leaves etcd. (Asked to end, it waits for a minute for
// those who watch.)
func (c *ControlPlane) KillAPIServer() error {
	apiServer := c.env.ControlPlane.GetAPIServer()
	return kill("--cert-dir="+apiServer.CertDir, apiServer.Stop)
}

// KillEtcd ends etcd as a power cut would, and leaves its data.
func (c *ControlPlane) KillEtcd() error {
	etcd := c.env.ControlPlane.Etcd
	return kill("--data-dir="+etcd.DataDir, etcd.Stop)
}

// StartEtcd starts etcd again, at the same address and with what it held.
func (c *ControlPlane) StartEtcd() error {
	before := c.env.ControlPlane.Etcd
	// One that has run would add the arguments of its first start, its port among peers included.
	etcd, err := newEtcd(before.DataDir, before.URL)
	if err != nil {
		return err
	}
	etcd.Path, etcd.StartTimeout, etcd.StopTimeout = before.Path, before.StartTimeout, before.StopTimeout
	c.env.ControlPlane.Etcd = etcd
	return etcd.Start()
}

// kill ends the process that has arg among its arguments, and returns once stop, envtest's, knows that it has ended.
func kill(arg string, stop func() error) error {
	pid, err := findProcess(arg)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for {
		// Between the end of a process and envtest's note of it, stop signals a process that is no more.
		if err := stop(); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// findProcess returns the process that has arg among its arguments.
func findProcess(arg string) (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if slices.Contains(strings.Split(string(line), "\x00"), arg) {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("no process has the argument %s", arg)
}

// commandOf returns the command line of the process that has arg among its arguments.
func commandOf(arg string) ([]string, error) {
	pid, err := findProcess(arg)
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"), nil
}

// StartAPIServer starts kube-apiserver again, at the same address.
func (c *ControlPlane) StartAPIServer() error { return c.env.ControlPlane.GetAPIServer().Start() }
