package main

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

const (
	root = "../.."
	// mostCompressed is how many bytes a node may have to pull.
	mostCompressed = 12_000_000
)

// testSource is what the tests build.
var testSource = source{version: "v1.2.3", revision: "0123456789abcdef", time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}

// built builds the image of the project in dir, and returns what is read from its archive.
func built(t *testing.T, project string) (v1.ImageIndex, []platform) {
	t.Helper()
	dir := t.TempDir()
	s := testSource
	s.root = project
	archive := filepath.Join(dir, "image.tar")
	_, platforms, err := pack(t.Context(), []string{"amd64", "arm64"}, dir, s, "registry.example.com/caject:v1.2.3", archive)
	if err != nil {
		t.Fatal(err)
	}
	unpacked := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(unpacked, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", "-xf", archive, "-C", unpacked).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read, err := layout.ImageIndexFromPath(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	return read, platforms
}

// TestTheSameSourceGivesTheSameImage builds it where it is and in a copy elsewhere.
func TestTheSameSourceGivesTheSameImage(t *testing.T) {
	here, _ := built(t, root)
	elsewhere := filepath.Join(t.TempDir(), "another", "place")
	copyProject(t, elsewhere)
	there, _ := built(t, elsewhere)
	one, err := here.Digest()
	if err != nil {
		t.Fatal(err)
	}
	other, err := there.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if one != other {
		t.Errorf("%s and %s", one, other)
	}
}

// copyProject copies what the Dockerfile does.
func copyProject(t *testing.T, to string) {
	t.Helper()
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, folder := range regexp.MustCompile(`(?m)^COPY ([a-z]+) [a-z]+$`).FindAllStringSubmatch(string(dockerfile), -1) {
		if err := os.CopyFS(filepath.Join(to, folder[1]), os.DirFS(filepath.Join(root, folder[1]))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheImageIsWhatTheDockerfileSays: both are described twice.
func TestTheImageIsWhatTheDockerfileSays(t *testing.T) {
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	said := func(instruction string) string {
		found := regexp.MustCompile(`(?m)^`+instruction+` (.*)$`).FindAllStringSubmatch(string(dockerfile), -1)
		return found[len(found)-1][1]
	}
	index, platforms := built(t, root)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range platforms {
		image, err := inner.Image(one.digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		entrypoint := `["` + strings.Join(config.Config.Entrypoint, `", "`) + `"]`
		got := []string{config.OS, config.Architecture, config.Config.User, entrypoint, config.Config.Labels["org.opencontainers.image.version"]}
		if diff := cmp.Diff([]string{"linux", one.arch, said("USER"), said("ENTRYPOINT"), testSource.version}, got); diff != "" {
			t.Error(diff)
		}
		if base := said("FROM"); base != "scratch" {
			t.Errorf("the Dockerfile begins with %s", base)
		}
		if diff := cmp.Diff([]string{"caject"}, filesOf(t, image)); diff != "" {
			t.Error(diff)
		}
		if one.compressed > mostCompressed {
			t.Errorf("the image for %s has %d bytes, compressed: has something begun to use text/template? The linker keeps all methods then", one.arch, one.compressed)
		}
	}
}

// filesOf returns the names of the files of an image.
func filesOf(t *testing.T, image v1.Image) (names []string) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(content)
		for {
			header, err := archive.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if header.Mode != 0o555 || !header.ModTime.Equal(testSource.time) {
				t.Errorf("%s: mode %o, of %s", header.Name, header.Mode, header.ModTime)
			}
			names = append(names, header.Name)
		}
	}
	return names
}

// TestTheProgramSaysItsVersion runs what is in the image of this machine's architecture.
func TestTheProgramSaysItsVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caject")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := compile(ctx, root, path, "linux", runtime.GOARCH, "v1.2.3", "caject"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil || !strings.Contains(string(out), "v1.2.3") {
		t.Errorf("%q, %v", out, err)
	}
}
