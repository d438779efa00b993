package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// destination is where a release goes.
type destination struct {
	repository string // of the image; charts lie beside it in charts
	plain      bool   // over HTTP
}

// charts is what the chart is pushed into, under its own name.
func (d destination) charts() string { return path.Join(path.Dir(d.repository), "charts") }

func pushCommand(ctx context.Context, args []string) error {
	var d destination
	flags := flag.NewFlagSet("image push", flag.ExitOnError)
	version := flags.String("version", "", "the release's tag, v1.2.3")
	dist := flags.String("dist", "bin/dist", "the folder that image release has filled")
	helm := flags.String("helm", "bin/helm", "Helm's program")
	flags.StringVar(&d.repository, "repository", defaultRepository, "what the image is pushed to; the chart goes to charts beside it")
	flags.BoolVar(&d.plain, "plain-http", false, "the registry speaks HTTP")
	_ = flags.Parse(args) // it exits
	published, err := push(ctx, *dist, *version, d, chart{helm: *helm})
	for _, reference := range published {
		fmt.Println(reference)
	}
	return err
}

// push publishes image and chart of a release, and returns their references, by digest, for those who sign them. It logs in as docker login
// and helm registry login have.
func push(ctx context.Context, dist, version string, d destination, c chart) ([]name.Digest, error) {
	options := []name.Option{name.StrictValidation}
	plain := []string{}
	if d.plain {
		options, plain = append(options, name.Insecure), append(plain, "--plain-http")
	}
	image, err := name.NewTag(d.repository+":"+version, options...)
	if err != nil {
		return nil, err
	}
	packed, err := name.NewTag(d.charts()+"/caject:"+chartVersion(version), options...)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "caject-push-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	index, err := readArchive(ctx, imageArchive(dist, version), dir)
	if err != nil {
		return nil, err
	}
	login := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if err := remote.WriteIndex(image, index, login...); err != nil {
		return nil, fmt.Errorf("push the image: %w", err)
	}
	if err := c.run(ctx, nil, append([]string{"push", c.archive(dist, version), "oci://" + d.charts()}, plain...)...); err != nil {
		return nil, err
	}
	var published []name.Digest
	for _, tag := range []name.Tag{image, packed} {
		head, err := remote.Head(tag, login...)
		if err != nil {
			return nil, err
		}
		published = append(published, tag.Digest(head.Digest.String()))
	}
	return published, nil
}

// readArchive unpacks an OCI archive that writeArchive has written into dir, and returns the index in it.
func readArchive(ctx context.Context, archive, dir string) (v1.ImageIndex, error) {
	if out, err := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("unpack %s: %w: %s", filepath.Base(archive), err, strings.TrimSpace(string(out)))
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	return outer.ImageIndex(manifest.Manifests[0].Digest)
}
