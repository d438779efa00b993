package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// mount prepares the file system that the node's programs see: what they write to fixed places goes to dir, or to memory.
func mount(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// The kubelet wants mounts to be seen in pods.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	for _, name := range []string{"varlog", "varlib", "varlib.work", "sysctl"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		source, target, kind, data string
		flags                      uintptr
	}{
		{"proc", "/proc", "proc", "", 0},
		{"tmpfs", "/run", "tmpfs", "", 0},
		{filepath.Join(dir, "varlog"), "/var/log", "", "", syscall.MS_BIND},
		// The kubelet and the network plugins write to /var/lib, whatever their arguments say.
		{"overlay", "/var/lib", "overlay", fmt.Sprintf("lowerdir=/var/lib,upperdir=%s,workdir=%s", filepath.Join(dir, "varlib"), filepath.Join(dir, "varlib.work")), 0},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return hideSysctls(filepath.Join(dir, "sysctl"))
}

// hideSysctls puts files over those settings of the kernel that are the whole machine's, and that the kubelet would change.
func hideSysctls(dir string) error {
	for name, value := range map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return err
		}
		if err := syscall.Mount(file, "/proc/sys/"+name, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide %s: %w", name, err)
		}
	}
	return nil
}

// forget takes away what a machine loses when its power is cut: the files in memory, and all that was mounted for pods.
func forget(dir string) error {
	mounted, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var all []string
	for line := range strings.Lines(string(mounted)) {
		if target := strings.Fields(line)[1]; strings.HasPrefix(target, dir+"/") || strings.HasPrefix(target, "/run/") {
			all = append(all, target)
		}
	}
	for i := range all {
		if err := syscall.Unmount(all[len(all)-1-i], syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", all[len(all)-1-i], err)
		}
	}
	if err := syscall.Unmount("/run", syscall.MNT_DETACH); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", "/run", "tmpfs", 0, "")
}

// endAll ends all other processes in the namespace, whose first one this is, as a power cut would.
func endAll() error {
	if err := syscall.Kill(-1, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		return err
	}
	return nil
}

// setHostname names the machine.
func setHostname(name string) error { return syscall.Sethostname([]byte(name)) }
