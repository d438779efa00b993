package playground

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Process is a running caject, or a program that takes its place.
type Process struct {
	// Log is the file that it logs to.
	Log string

	command *exec.Cmd
	health  string
	done    chan error
}

// StartProcess runs command, a line of arguments with the program first. Its log goes to logPath. healthPort, on
// loopback, is where it serves /livez and /readyz; 0 if it does not. env, each as name=value, is added to the environment of this process.
func StartProcess(command []string, healthPort int, logPath string, env ...string) (*Process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Process{
		Log:     logPath,
		command: exec.Command(command[0], command[1:]...),
		health:  fmt.Sprintf("http://localhost:%d", healthPort),
		done:    make(chan error, 1),
	}
	p.command.Stdout, p.command.Stderr = log, log
	p.command.Env = append(p.command.Environ(), env...)
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() { p.done <- p.command.Wait() }()
	return p, nil
}

// StartGarbageCollector starts the garbage collector of Kubernetes' controller manager on the cluster. What it logs is in logPath.
func (c *ControlPlane) StartGarbageCollector(logPath string) (*Process, error) {
	return StartProcess([]string{c.program("garbage-collector"), "-kubeconfig", c.Kubeconfig}, 0, logPath)
}

// Pid returns the process's number.
func (p *Process) Pid() int { return p.command.Process.Pid }

// Args returns the arguments, without the program.
func (p *Process) Args() []string { return p.command.Args[1:] }

// Ready reports whether /readyz says so.
func (p *Process) Ready(ctx context.Context) bool { return p.Probe(ctx, "/readyz") }

// Probe reports whether a health endpoint answers with 200.
func (p *Process) Probe(ctx context.Context, path string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.health+path, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// WaitReady returns once the process is ready. The error of one that is not, or that ended, holds its log.
func (p *Process) WaitReady(ctx context.Context) error {
	for !p.Ready(ctx) {
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("caject ended: %v\n%s", err, p.ReadLog())
		case <-ctx.Done():
			return fmt.Errorf("caject is not ready: %w\n%s", ctx.Err(), p.ReadLog())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// ReadLog returns what the process has logged.
func (p *Process) ReadLog() string {
	log, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// Logged returns how many lines of the log hold all of words.
func (p *Process) Logged(words ...string) int {
	n := 0
lines:
	for line := range strings.Lines(p.ReadLog()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		n++
	}
	return n
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error { return p.command.Process.Signal(s) }

// Wait returns once the process has ended, for example because it was killed. The error says how, if not with exit code 0.
func (p *Process) Wait() error {
	err := <-p.done
	p.done <- err
	return err
}

// Stop asks the process to end, as a kubelet does, and returns how it did. It kills it after a minute.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(time.Minute):
		return errors.Join(errors.New("caject did not end within a minute of SIGTERM"), p.command.Process.Kill())
	}
}
