package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// Processes returns those of a program in pods, as its command line begins, whose cgroup has word in its name.
func (n *Node) Processes(program, word string) (pids []int, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		cgroup, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(cgroup, []byte(n.cgroup+"/")) || !bytes.Contains(cgroup, []byte(word)) {
			continue // it has ended, or is another's
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || !bytes.HasPrefix(line, []byte(program+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
