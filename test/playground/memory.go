package playground

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process holds, in bytes.
type Memory struct {
	// Anonymous is its own (RssAnon); Resident is all (VmRSS), shared pages of the binary included; Peak is the most that
	// was ever resident (VmHWM).
	Anonymous, Resident, Peak int64
}

// Memory reads it from /proc.
func (p *Process) Memory() (Memory, error) { return MemoryOf(p.Pid()) }

// MemoryOf reads that of any process from /proc.
func MemoryOf(pid int) (Memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return Memory{}, err
		}
		switch fields[0] {
		case "RssAnon:":
			m.Anonymous = n * 1024
		case "VmRSS:":
			m.Resident = n * 1024
		case "VmHWM:":
			m.Peak = n * 1024
		}
	}
	return m, nil
}
