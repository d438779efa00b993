package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// chart is caject's Helm chart.
type chart struct {
	folder string
	helm   string // Helm's program
}

// releases is what a release's tag looks like: as Go modules want it.
var releases = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// chartVersion is that of the chart of a release: charts have no v before it.
func chartVersion(version string) string { return strings.TrimPrefix(version, "v") }

// check returns an error unless version is the one that the chart in the repository names, and the chart takes the image from where it is
// pushed to. Of a snapshot only the form counts.
func (c chart) check(version string, snapshot bool) error {
	if !releases.MatchString(version) {
		return fmt.Errorf("the version is %q, not like v1.2.3", version)
	}
	description, err := os.ReadFile(filepath.Join(c.folder, "Chart.yaml"))
	if err != nil {
		return err
	}
	values, err := os.ReadFile(filepath.Join(c.folder, "values.yaml"))
	if err != nil {
		return err
	}
	if said := field(values, "  repository"); said != defaultRepository {
		return fmt.Errorf("values.yaml has the image in %s, not in %s", said, defaultRepository)
	}
	if snapshot {
		return nil
	}
	for key, want := range map[string]string{"version": chartVersion(version), "appVersion": version} {
		if said := field(description, key); said != want {
			return fmt.Errorf("the chart says %s: %s, not %s: change Chart.yaml, commit that, and tag the commit", key, said, want)
		}
	}
	if image := "image: " + defaultRepository + ":" + version + "\n"; !strings.Contains(string(description), image) {
		return fmt.Errorf("the annotation artifacthub.io/images of Chart.yaml does not say %s", strings.TrimSpace(image))
	}
	return nil
}

// field returns the scalar that stands in a line of its own, with its indentation before the key.
func field(yaml []byte, key string) string {
	found := regexp.MustCompile(`(?m)^` + key + `: "?([^"\n]*)"?$`).FindSubmatch(yaml)
	if found == nil {
		return ""
	}
	return string(found[1])
}

// archive is the packaged chart in dist.
func (c chart) archive(dist, version string) string {
	return filepath.Join(dist, "caject-"+chartVersion(version)+".tgz")
}

// pack puts the chart of a release into dist, and what it renders for clusters without Helm.
func (c chart) pack(ctx context.Context, version, dist string) error {
	if err := c.run(ctx, nil, "package", c.folder, "--version", chartVersion(version), "--app-version", version, "--destination", dist); err != nil {
		return err
	}
	for _, minor := range minors {
		file, err := os.Create(filepath.Join(dist, fmt.Sprintf("caject-%s-kubernetes-%s.yaml", version, minor.name)))
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := fmt.Fprint(file, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: caject\n"); err != nil {
			return err
		}
		args := append([]string{"template", "caject", c.archive(dist, version), "--namespace", "caject", "--skip-tests"}, minor.args...)
		if err := c.run(ctx, file, args...); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// minors are the versions of Kubernetes from which on the chart renders something else.
var minors = []struct {
	name string
	args []string
}{
	{"1.30", []string{"--kube-version", "1.30.0"}},
	{"1.36", []string{"--kube-version", "1.36.0", "--api-versions", mutatingPolicies}},
	{"1.37", []string{"--kube-version", "1.37.0", "--api-versions", mutatingPolicies}},
}

// mutatingPolicies is what the chart looks for with policy.enabled: auto.
const mutatingPolicies = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"

// run has Helm do something. What it prints goes to the file, if there is one.
func (c chart) run(ctx context.Context, to *os.File, args ...string) error {
	command := exec.CommandContext(ctx, c.helm, args...)
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	if to != nil {
		command.Stdout = to
	}
	if err := command.Run(); err != nil {
		return fmt.Errorf("helm %s: %w\n%s", args[0], err, said.String())
	}
	return nil
}
