// Command image builds caject's image for amd64 and arm64, without a container engine and without network beyond the Go modules: make image.
// It writes an OCI archive, which ctr, podman, skopeo and docker import, and prints what is in it. The same source gives the same digest.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	var s source
	flag.StringVar(&s.root, "root", ".", "the project")
	flag.StringVar(&s.version, "version", "devel", "what caject --version says")
	flag.StringVar(&s.program, "program", "", "put this program into the image instead of caject; it has to be for the one architecture named")
	archive := flag.String("o", "bin/caject-image.tar", "the archive to write")
	repository := flag.String("repository", "ghcr.io/caject/caject", "what the image is called when it is imported, the version being its tag")
	architectures := flag.String("arch", "amd64,arm64", "which architectures to build for, as Go calls them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, strings.Split(*architectures, ","), *archive, *repository+":"+s.version); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
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
	index, built, err := build(ctx, architectures, dir, s)
	if err != nil {
		return err
	}
	if err := writeArchive(index, name, filepath.Join(dir, "layout"), archive); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "platform\tdigest\tcompressed\tbinary")
	for _, one := range built {
		fmt.Fprintf(table, "linux/%s\t%s\t%.1f MB\t%.1f MB\n", one.arch, one.digest, megabytes(one.compressed), megabytes(one.binary))
	}
	fmt.Fprintf(table, "index\t%s\t\t\n", digest)
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Printf("%s holds them. ctr --namespace k8s.io images import, podman load --input and skopeo copy oci-archive: read it.\n", archive)
	return nil
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
