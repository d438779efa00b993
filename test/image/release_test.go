package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// testChart is the project's, and Helm as make assets builds it.
func testChart(t *testing.T) chart {
	t.Helper()
	helm, err := filepath.Abs(filepath.Join(root, "bin", "helm"))
	if err != nil {
		t.Fatal(err)
	}
	return chart{folder: filepath.Join(root, "charts", "caject"), helm: helm}
}

// TestARelease builds one, pushes it to a registry, and looks at what comes back.
func TestARelease(t *testing.T) {
	s := testSource
	s.root = root
	dist := filepath.Join(t.TempDir(), "dist")
	if err := release(t.Context(), s, testChart(t), []string{runtime.GOOS + "/" + runtime.GOARCH}, dist); err != nil {
		t.Fatal(err)
	}
	t.Run("has these files, and their checksums are right", func(t *testing.T) { hasItsFiles(t, dist) })
	for _, arch := range architectures {
		t.Run("has the program for "+arch, func(t *testing.T) { hasItsProgram(t, dist, arch) })
	}
	t.Run("names one version everywhere", func(t *testing.T) { namesOneVersion(t, dist) })
	t.Run("has a plugin that krew installs", func(t *testing.T) { isInstalledByKrew(t, dist) })
	t.Run("comes back from a registry", func(t *testing.T) { comesBack(t, dist) })
}

func hasItsFiles(t *testing.T, dist string) {
	sums := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", checksums)
	sums.Dir = dist
	out, err := sums.Output()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		names = append(names, strings.TrimSuffix(line, ": OK\n"))
	}
	want := []string{
		"caject-1.2.3.tgz", "caject-v1.2.3-image.tar", "caject-v1.2.3-kubernetes-1.30.yaml", "caject-v1.2.3-kubernetes-1.36.yaml",
		"caject-v1.2.3-kubernetes-1.37.yaml", "caject-v1.2.3-linux-amd64.cdx.json", "caject-v1.2.3-linux-amd64.tar.gz",
		"caject-v1.2.3-linux-arm64.cdx.json", "caject-v1.2.3-linux-arm64.tar.gz",
		"kubectl-caject-v1.2.3-krew.yaml", "kubectl-caject-v1.2.3-linux-" + runtime.GOARCH + ".cdx.json", "kubectl-caject-v1.2.3-linux-" + runtime.GOARCH + ".tar.gz",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	entries, err := os.ReadDir(dist)
	if err != nil || len(entries) != len(want)+1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

// hasItsProgram compares what an archive holds with what the bill of materials says.
func hasItsProgram(t *testing.T, dist, arch string) {
	files := untar(t, filepath.Join(dist, "caject-v1.2.3-linux-"+arch+".tar.gz"))
	if len(files) != 3 || !strings.Contains(string(files["LICENSE"]), "Apache License") || len(files["README.md"]) == 0 {
		t.Errorf("%d files", len(files))
	}
	program := filepath.Join(t.TempDir(), "caject")
	if err := os.WriteFile(program, files["caject"], 0o700); err != nil {
		t.Fatal(err)
	}
	var bill cyclonedx.BOM
	content, err := os.ReadFile(filepath.Join(dist, "caject-v1.2.3-linux-"+arch+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &bill); err != nil {
		t.Fatal(err)
	}
	sum, err := checksum(program)
	if err != nil || bill.Metadata.Component.Version != "v1.2.3" || (*bill.Metadata.Component.Hashes)[0].Value != sum {
		t.Errorf("the bill is of %+v, %v", bill.Metadata.Component, err)
	}
	noted, err := exec.CommandContext(t.Context(), "go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for line := range strings.Lines(string(noted)) {
		if fields := strings.Fields(line); fields[0] == "dep" {
			want = append(want, fields[1]+" "+fields[2])
		}
	}
	for _, part := range *bill.Components {
		if part.Name != "std" {
			got = append(got, part.Name+" "+part.Version)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Error(diff)
	}
	if arch != runtime.GOARCH {
		return
	}
	if out, err := exec.CommandContext(t.Context(), program, "version").Output(); err != nil || !strings.HasPrefix(string(out), "caject version v1.2.3 ") {
		t.Errorf("%q, %v", out, err)
	}
}

// untar returns the files of a compressed archive.
func untar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// namesOneVersion looks at the image's name in its archive, the chart, and the image that the manifests ask for.
func namesOneVersion(t *testing.T, dist string) {
	index, err := readArchive(t.Context(), imageArchive(dist, "v1.2.3"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := platformsOf(manifest); !slices.Equal(got, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("the image is for %q", got)
	}
	description := untar(t, testChart(t).archive(dist, "v1.2.3"))["caject/Chart.yaml"]
	if version, app := field(description, "version"), field(description, "appVersion"); version != "1.2.3" || app != "v1.2.3" {
		t.Errorf("the chart is %s, for %s", version, app)
	}
	for _, minor := range minors {
		file, err := os.Open(filepath.Join(dist, "caject-v1.2.3-kubernetes-"+minor.name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var images []string
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			if _, image, found := strings.Cut(lines.Text(), " image: "); found {
				images = append(images, strings.Trim(image, `"`))
			}
		}
		if diff := cmp.Diff([]string{"ghcr.io/caject/caject:v1.2.3"}, images); diff != "" || lines.Err() != nil {
			t.Error(minor.name, diff, lines.Err())
		}
	}
}

func platformsOf(manifest *v1.IndexManifest) (platforms []string) {
	for _, one := range manifest.Manifests {
		platforms = append(platforms, one.Platform.String())
	}
	return platforms
}

// comesBack pushes to a registry in this process. The chart is pulled by Helm, as users do.
func comesBack(t *testing.T, dist string) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	d := destination{repository: host + "/owner/caject", plain: true}
	published, err := push(t.Context(), dist, "v1.2.3", d, testChart(t))
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(host+"/owner/caject:v1.2.3", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := platformsOf(manifest); !slices.Equal(got, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("the image is for %q", got)
	}
	if got, err := index.Digest(); err != nil || len(published) != 2 || published[0].String() != host+"/owner/caject@"+got.String() ||
		!strings.HasPrefix(published[1].String(), host+"/owner/charts/caject@sha256:") {
		t.Errorf("%s came back as %s, %v", published, got, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if got := filesOf(t, image); !slices.Equal(got, []string{"caject"}) {
		t.Errorf("the image holds %q", got)
	}
	pulled := t.TempDir()
	c := testChart(t)
	if err := c.run(t.Context(), nil, "pull", "oci://"+host+"/owner/charts/caject", "--version", "1.2.3", "--plain-http", "--destination", pulled); err != nil {
		t.Fatal(err)
	}
	want, err := checksum(c.archive(dist, "v1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := checksum(c.archive(pulled, "v1.2.3")); err != nil || got != want {
		t.Errorf("another chart came back, %v", err)
	}
}
