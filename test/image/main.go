// Command image builds caject's image for amd64 and arm64, without a container engine and without network beyond the Go modules: make image.
// It writes an OCI archive, which ctr, podman, skopeo and docker import, and prints what is in it. The same source gives the same digest.
//
// image release builds all that a release publishes into a folder, and image push has it published: make release, make push.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// defaultRepository is where the chart looks for the image.
const defaultRepository = "ghcr.io/caject/caject"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	command, args := imageCommand, os.Args[1:]
	if len(args) > 0 {
		switch args[0] {
		case "release":
			command, args = releaseCommand, args[1:]
		case "push":
			command, args = pushCommand, args[1:]
		}
	}
	if err := command(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func imageCommand(ctx context.Context, args []string) error {
	var s source
	flags := flag.NewFlagSet("image", flag.ExitOnError)
	flags.StringVar(&s.root, "root", ".", "the project")
	flags.StringVar(&s.version, "version", "devel", "what caject --version says")
	flags.StringVar(&s.program, "program", "", "put this program into the image instead of caject; it has to be for the one architecture named")
	archive := flags.String("o", "bin/caject-image.tar", "the archive to write")
	repository := flags.String("repository", defaultRepository, "what the image is called when it is imported, the version being its tag")
	architectures := flags.String("arch", "amd64,arm64", "which architectures to build for, as Go calls them")
	_ = flags.Parse(args) // it exits
	return run(ctx, s, strings.Split(*architectures, ","), *archive, *repository+":"+s.version)
}

func run(ctx context.Context, s source, architectures []string, archive, name string) error {
	if err := s.describe(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "caject-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index, built, err := pack(ctx, architectures, dir, s, name, archive)
	if err != nil {
		return err
	}
	if err := printPlatforms(os.Stdout, index, built); err != nil {
		return err
	}
	fmt.Printf("%s holds them. ctr --namespace k8s.io images import, podman load --input and skopeo copy oci-archive: read it.\n", archive)
	return nil
}

// printPlatforms prints what an index holds.
func printPlatforms(to io.Writer, index v1.ImageIndex, built []platform) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "platform\tdigest\tcompressed\tbinary")
	for _, one := range built {
		fmt.Fprintf(table, "linux/%s\t%s\t%.1f MB\t%.1f MB\n", one.arch, one.digest, megabytes(one.compressed), megabytes(one.binary))
	}
	fmt.Fprintf(table, "index\t%s\t\t\n", digest)
	return table.Flush()
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// source is what an image is built from.
type source struct {
	// root is the project, and version what caject says of itself.
	root, version string
	// program is the path of another program than caject, which is built; empty for caject.
	program string
	// revision is the commit, and time when it was made; empty and 1970 where there is no repository.
	revision string
	time     time.Time
}

// title is the name of the program.
func (s source) title() string {
	if s.program != "" {
		return filepath.Base(s.program)
	}
	return "caject"
}

// describe asks git about root.
func (s *source) describe(ctx context.Context) error {
	s.time = time.Unix(0, 0).UTC()
	command := exec.CommandContext(ctx, "git", "-C", s.root, "log", "-1", "--format=%H %cI")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil // the source of a release's archive
	}
	revision, date, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	s.revision = revision
	if s.time, err = time.Parse(time.RFC3339, date); err != nil {
		return fmt.Errorf("the time of commit %s: %w", revision, err)
	}
	s.time = s.time.UTC()
	return nil
}
