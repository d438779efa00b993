package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/test/playground"
)

// quietSpan is for how long nothing changes.
const quietSpan = time.Minute

// TestTheChartAsItIsRunsPods looks at what the unchanged chart has made, in a namespace that admits only what is restricted.
func TestTheChartAsItIsRunsPods(t *testing.T) {
	ctx := t.Context()
	if err := cluster.settled(ctx, 2); err != nil {
		t.Fatal(err)
	}
	pods, err := cluster.pods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range pods {
		got, err := facts(one.pid)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"Uid": "65532", "Gid": "65532", "Groups": "65532", "CapEff": "0000000000000000", "CapBnd": "0000000000000000",
			"NoNewPrivs": "1", "Seccomp": "2", "root": "ro",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", one.Name, diff)
		}
		if out, err := cluster.Kubectl(ctx, "", "get", "--raw", "/api/v1/namespaces/caject/pods/"+one.Name+":9440/proxy/readyz"); err != nil || strings.TrimSpace(out.Stdout) != "ok" {
			t.Errorf("%s: readyz says %q, %v", one.Name, out.Stdout, err)
		}
		if out, err := cluster.Kubectl(ctx, "", "--namespace", playground.Namespace, "logs", one.Name); err != nil || !strings.Contains(out.Stdout, `"msg":`) {
			t.Errorf("%s: its log is %q, %v", one.Name, out.Stdout, err)
		}
	}
	if err := cluster.rotate(ctx); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cluster.right(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rotated sources are in all %d targets after %.2f s", sources, cluster.population.Targets(), time.Since(began).Seconds())
	if _, err := cluster.census.Result(); err != nil {
		t.Error(err)
	}
	cluster.quiet(t)
	for _, one := range pods {
		cluster.logUsage(ctx, t, one)
	}
}

// facts are what the kernel says of a process in a pod.
func facts(pid int) (map[string]string, error) {
	dir := filepath.Join("/proc", fmt.Sprint(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp":
			found[name] = strings.Fields(value)[0]
		}
	}
	mounts, err := os.ReadFile(filepath.Join(dir, "mounts"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[1] == "/" {
			found["root"], _, _ = strings.Cut(fields[3], ",")
		}
	}
	return found, nil
}

// quiet fails the test unless caject's pods write nothing for a while.
func (r *rig) quiet(t *testing.T) {
	t.Helper()
	quiet := playground.Quiet{Replicas: 2, Interval: interval}
	if err := quiet.Settle(t.Context(), r.ControlPlane, 10*time.Second, time.Minute); err != nil {
		t.Fatal(err)
	}
	silence, err := quiet.Watch(t.Context(), r.ControlPlane, quietSpan)
	if err != nil {
		t.Error(err)
	}
	t.Log(silence)
}

// end ends a test after which nothing may be lost, and caject must be silent. It leaves the chart as it is by default.
func (r *rig) end(t *testing.T) {
	t.Helper()
	if _, err := r.census.Result(); err != nil {
		t.Error(err)
	}
	r.quiet(t)
	if err := r.upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// logUsage logs what a pod takes, by its cgroup.
func (r *rig) logUsage(ctx context.Context, t *testing.T, one pod) {
	t.Helper()
	out, err := r.Kubectl(ctx, "", "get", "--raw", "/api/v1/nodes/"+Name+"/proxy/stats/summary?only_cpu_and_memory=true")
	if err != nil {
		t.Fatal(err)
	}
	var u usage
	if err := json.Unmarshal([]byte(out.Stdout), &u); err != nil {
		t.Fatal(err)
	}
	for _, found := range u.Pods {
		if found.PodRef.Name != one.Name {
			continue
		}
		if found.Memory.WorkingSetBytes == 0 || found.Memory.WorkingSetBytes > uint64(one.Spec.Containers[0].Resources.Limits.Memory().Value()) {
			t.Errorf("%s takes %d bytes", one.Name, found.Memory.WorkingSetBytes)
		}
		age := found.CPU.Time.Sub(one.Status.StartTime.Time)
		t.Logf("%s: working set %.1f MB, %.2f s of CPU in %s", one.Name, float64(found.Memory.WorkingSetBytes)/1e6,
			float64(found.CPU.UsageCoreNanoSeconds)/1e9, age.Round(time.Second))
		return
	}
	t.Errorf("the kubelet has nothing to say of %s", one.Name)
}
