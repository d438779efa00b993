package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is who the program of an image runs as, user and group: nobody in particular, and not root.
const user = "65532:65532"

// platform is what was built for one architecture. Sizes are in bytes.
type platform struct {
	arch       string
	digest     v1.Hash
	compressed int64 // all layers
	binary     int64
}

// build returns an index of the images for each architecture. Files are put into dir.
func build(ctx context.Context, architectures []string, dir string, s source) (v1.ImageIndex, []platform, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var built []platform
	for _, arch := range architectures {
		path := s.program
		if path == "" {
			path = binaryPath(dir, arch)
			if err := compile(ctx, s.root, path, "linux", arch, s.version, "caject"); err != nil {
				return nil, nil, err
			}
		}
		image, err := assemble(path, arch, s)
		if err != nil {
			return nil, nil, err
		}
		one, err := measure(image, path, arch)
		if err != nil {
			return nil, nil, err
		}
		built = append(built, one)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, built, nil
}

// binaryPath is where build puts caject for an architecture.
func binaryPath(dir, arch string) string { return filepath.Join(dir, "caject-"+arch) }

// compile builds a command of the project as the Makefile and the Dockerfile do, but without what a repository says of itself: that is in the labels.
func compile(ctx context.Context, root, path, goos, arch, version, name string) error {
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", path, "./cmd/"+name)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch, "GOFLAGS=")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for %s/%s: %w\n%s", name, goos, arch, err, out)
	}
	return nil
}

// assemble makes an image of the program at path and nothing else.
func assemble(path, arch string, s source) (v1.Image, error) {
	content, err := layerOf(path, s.title(), s.time)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: s.time}, CreatedBy: "make image"},
	}); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: s.time}
	config.Config = v1.Config{User: user, Entrypoint: []string{"/" + s.title()}, Labels: labels(s)}
	return mutate.ConfigFile(image, config)
}

// layerOf returns the tar of a layer that holds the program at path, as name, and no other file.
func layerOf(path, name string, modified time.Time) ([]byte, error) {
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o555, Size: int64(len(binary)), ModTime: modified, Format: tar.FormatPAX}); err != nil {
		return nil, err
	}
	if _, err := archive.Write(binary); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// labels are those of the OCI image specification, for caject.
func labels(s source) map[string]string {
	if s.program != "" {
		return nil
	}
	all := map[string]string{
		"org.opencontainers.image.title":       s.title(),
		"org.opencontainers.image.description": "Injects CA bundles into webhook configurations, CRDs and APIServices",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.source":      "https://github.com/caject/caject",
		"org.opencontainers.image.version":     s.version,
		"org.opencontainers.image.created":     s.time.Format(time.RFC3339),
	}
	if s.revision != "" {
		all["org.opencontainers.image.revision"] = s.revision
	}
	return all
}

func measure(image v1.Image, path, arch string) (platform, error) {
	one := platform{arch: arch}
	var err error
	if one.digest, err = image.Digest(); err != nil {
		return one, err
	}
	layers, err := image.Layers()
	if err != nil {
		return one, err
	}
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return one, err
		}
		one.compressed += size
	}
	info, err := os.Stat(path)
	if err != nil {
		return one, err
	}
	one.binary = info.Size()
	return one, nil
}

// pack builds the image for each architecture, and writes it in a tar at archive. name is what an import calls it. Files are put into dir.
func pack(ctx context.Context, architectures []string, dir string, s source, name, archive string) (v1.ImageIndex, []platform, error) {
	index, built, err := build(ctx, architectures, dir, s)
	if err != nil {
		return nil, nil, err
	}
	return index, built, writeArchive(index, name, filepath.Join(dir, "layout"), archive)
}

// writeArchive writes index as an OCI layout, to be made at dir, in a tar at path. name is what an import calls it.
func writeArchive(index v1.ImageIndex, name, dir, path string) error {
	written, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	_, tag, _ := strings.Cut(name, ":")
	if err := written.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag,
	})); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := tar.NewWriter(file)
	if err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(relative), Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	}); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return file.Close()
}
