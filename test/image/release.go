package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// architectures are those that a release has.
var architectures = []string{"amd64", "arm64"}

// checksums is the file of a release that has the SHA-256 of all the others, as sha256sum writes it.
const checksums = "SHA256SUMS"

func releaseCommand(ctx context.Context, args []string) error {
	var s source
	flags := flag.NewFlagSet("image release", flag.ExitOnError)
	flags.StringVar(&s.root, "root", ".", "the project")
	flags.StringVar(&s.version, "version", "", "the release's tag, v1.2.3")
	snapshot := flags.Bool("snapshot", false, "the version need not be the one that the chart names")
	dist := flags.String("dist", "bin/dist", "the folder for what is built; what was in it is removed")
	helm := flags.String("helm", "bin/helm", "Helm's program")
	_ = flags.Parse(args) // it exits
	c := chart{folder: filepath.Join(s.root, "charts", "caject"), helm: *helm}
	if err := c.check(s.version, *snapshot); err != nil {
		return err
	}
	if err := s.describe(ctx); err != nil {
		return err
	}
	return release(ctx, s, c, pluginPlatforms, *dist)
}

// release builds into dist: an archive of the program and its bill of materials for each architecture, the image, the chart, the manifests,
// kubectl caject for each of plugins (GOOS/GOARCH), and checksums of them all.
func release(ctx context.Context, s source, c chart, plugins []string, dist string) error {
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "caject-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index, built, err := pack(ctx, architectures, dir, s, defaultRepository+":"+s.version, imageArchive(dist, s.version))
	if err != nil {
		return err
	}
	for _, arch := range architectures {
		base := filepath.Join(dist, fmt.Sprintf("caject-%s-linux-%s", s.version, arch))
		if err := writeProgram(base+".tar.gz", "caject", binaryPath(dir, arch), s); err != nil {
			return err
		}
		if err := writeBill(base+".cdx.json", binaryPath(dir, arch), s); err != nil {
			return fmt.Errorf("the bill of materials for %s: %w", arch, err)
		}
	}
	if err := writePlugin(ctx, s, plugins, dir, dist); err != nil {
		return err
	}
	if err := c.pack(ctx, s.version, dist); err != nil {
		return err
	}
	if err := writeChecksums(dist); err != nil {
		return err
	}
	return printPlatforms(os.Stdout, index, built)
}

// imageArchive is the file of a release that has the image.
func imageArchive(dist, version string) string {
	return filepath.Join(dist, "caject-"+version+"-image.tar")
}

// writeProgram writes an archive of the program at binary, which is called name in it, with what its license asks to go along. The same content gives the same archive.
func writeProgram(path, name, binary string, s source) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	packed := gzip.NewWriter(file)
	archive := tar.NewWriter(packed)
	for _, one := range []struct {
		name, from string
		mode       int64
	}{{name, binary, 0o755}, {"LICENSE", filepath.Join(s.root, "LICENSE"), 0o644}, {"README.md", filepath.Join(s.root, "README.md"), 0o644}} {
		content, err := os.ReadFile(one.from)
		if err != nil {
			return err
		}
		if err := addFile(archive, one.name, content, one.mode, s.time); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return file.Close()
}

func addFile(archive *tar.Writer, name string, content []byte, mode int64, modified time.Time) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: modified, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

// writeChecksums writes those of all files in dist.
func writeChecksums(dist string) error {
	entries, err := os.ReadDir(dist) // by name
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, entry := range entries {
		sum, err := checksum(filepath.Join(dist, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s  %s\n", sum, entry.Name())
	}
	return os.WriteFile(filepath.Join(dist, checksums), []byte(lines.String()), 0o644)
}

func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}
