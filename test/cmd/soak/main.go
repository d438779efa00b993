// Command soak runs caject under churn for a given time and prints what came of it: make soak. It fails if anything was wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/soak"
	"github.com/caject/caject/test/trial"
)

func main() {
	duration := flag.Duration("duration", 10*time.Minute, "for how long things change")
	sources := flag.Int("sources", 20, "how many Secrets are rotated")
	pause := flag.Duration("pause", 50*time.Millisecond, "how long to wait between two changes")
	replicas := flag.Int("replicas", 1, "how many caject run")
	apiServers := flag.Int("apiservers", 1, "how many kube-apiservers run; what changes is written through one, and caject's requests go to each")
	lifetime := flag.Duration("lifetime", 3*time.Minute, "for how long the CAs are valid")
	scrapes := flag.String("scrapes", "", "file for what each caject serves as metrics, each second: see test/monitoring/plot")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *scrapes, trial.Options{Replicas: *replicas, APIServers: *apiServers}, soak.Options{
		Duration: *duration, Sources: *sources, Pause: *pause, Patience: 10 * time.Second, SpareMemory: int64(*replicas) * (16 << 20),
		Lifetime: *lifetime,
	}); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, scrapes string, world trial.Options, o soak.Options) (err error) {
	if scrapes != "" {
		file, err := os.Create(scrapes)
		if err != nil {
			return err
		}
		defer file.Close()
		o.Scrapes = file
	}
	root, err := playground.Root()
	if err != nil {
		return err
	}
	world.Program = filepath.Join(root, "bin", "caject")
	w, err := trial.NewWorld(ctx, world)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := soak.Run(ctx, w, o, os.Stdout); err != nil {
		return fmt.Errorf("%w\n%s", err, w.Logs())
	}
	return nil
}
