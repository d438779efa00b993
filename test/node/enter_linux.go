package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// inside is the environment variable that holds the name of the node's cgroup, in the namespaces.
const inside = "CAJECT_NODE_CGROUP"

// Enter runs this very program again, with the same arguments, in namespaces of its own: mounts, network, processes, names and IPC. There
// it returns nil. Outside it does not return, but ends the process as the inner one ended, after whose end the kernel ends all that was
// started in there. An error says what the machine lacks.
func Enter() error {
	if os.Getenv(inside) != "" {
		return nil
	}
	if err := Check(); err != nil {
		return err
	}
	cgroup := fmt.Sprintf("caject-node-%d", os.Getpid())
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(self, os.Args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(), inside+"="+cgroup)
	door, err := openDoor()
	if err != nil {
		return err
	}
	command.ExtraFiles = []*os.File{door}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // the end of the thread would count as that of the process
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := command.Start(); err != nil {
		return fmt.Errorf("enter namespaces of its own: %w", err)
	}
	go func() {
		for s := range signals {
			_ = command.Process.Signal(s) // it may have ended
		}
	}()
	err = command.Wait()
	removeCgroup(cgroup)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	os.Exit(command.ProcessState.ExitCode())
	return nil
}

// doorFile is the first of ExtraFiles.
const doorFile = 3

// openDoor returns a socket that listens on loopback outside. The one who accepts connections may be in another network.
func openDoor() (*os.File, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return listener.(*net.TCPListener).File()
}

// Check says what the machine lacks.
func Check() error {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, program := range []string{"runc", "nft", "ip", "mount", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(cgroups()) == 0 {
		missing = append(missing, "cgroups at "+cgroupRoot)
	}
	if len(missing) > 0 {
		return fmt.Errorf("a node cannot run here without: %s (on Debian: apt-get install runc nftables iproute2 mount)", strings.Join(missing, ", "))
	}
	return nil
}

const cgroupRoot = "/sys/fs/cgroup"

// cgroups returns the folders in which a cgroup is made: one for each controller with version 1, one with version 2.
func cgroups() []string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}
	}
	found, err := filepath.Glob(filepath.Join(cgroupRoot, "*", "tasks"))
	if err != nil {
		return nil
	}
	for i, file := range found {
		found[i] = filepath.Dir(file)
	}
	return found
}

// makeCgroup makes the cgroup that all pods are in, and returns its name.
func makeCgroup() (string, error) {
	name := os.Getenv(inside)
	for _, parent := range cgroups() {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		// Version 1: no process can be in a cpuset without these.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(parent, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return "", err
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
				return "", err
			}
		}
		// Version 2: not tried. Controllers are enabled from above.
		if parent == cgroupRoot {
			if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+cpu +memory +pids +cpuset"), 0o644); err != nil {
				return "", err
			}
		}
	}
	return name, nil
}

// removeCgroup removes it with all below, as far as it is empty.
func removeCgroup(name string) {
	// The kubelet makes some where no controller is, too.
	for _, pattern := range []string{filepath.Join(cgroupRoot, name), filepath.Join(cgroupRoot, "*", name)} {
		found, _ := filepath.Glob(pattern) // the pattern is right
		for _, dir := range found {
			removeAll(dir)
		}
	}
}

// removeAll removes a cgroup and those in it.
func removeAll(dir string) {
	var all []string
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for i := range all {
		_ = syscall.Rmdir(all[len(all)-1-i])
	}
}
