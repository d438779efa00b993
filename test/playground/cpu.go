package playground

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks is how many the kernel counts in a second of CPU time, in /proc/*/stat (USER_HZ, the same on all machines that Go supports).
const ticks = 100

// CPU returns the time that a process has computed for so far, in user mode and in the kernel, to 10 ms.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseCPU(string(text))
}

// parseCPU takes the fields 14 and 15, utime and stime, from the text of a /proc/*/stat. The second field is the program's name
// in parentheses, which may hold blanks and parentheses.
func parseCPU(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/*/stat has no CPU times: %q", stat)
	}
	var sum int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the CPU time in /proc/*/stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// CPU returns the time that the process has computed for so far.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.Pid()) }

// APIServerPid returns the number of kube-apiserver's process.
func (c *ControlPlane) APIServerPid() (int, error) {
	return findProcess("--cert-dir=" + c.env.ControlPlane.GetAPIServer().CertDir)
}
