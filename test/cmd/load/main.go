// Command load fills many and large objects, and prints how long that takes, and how long cainjector takes for the same: make
// load. It fails if anything is not filled, or caject takes more memory than the chart gives it.
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

	"github.com/caject/caject/test/load"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

func main() {
	o := load.Options{Patience: 5 * time.Minute, MaxMemory: 128 << 20}
	flag.IntVar(&o.Objects, "objects", 2000, "how many objects are filled first")
	flag.IntVar(&o.Sources, "sources", 200, "from how many Secrets")
	flag.IntVar(&o.Creates, "creates", 1000, "how many more are created as fast as the API server takes them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o load.Options) (err error) {
	root, err := playground.Root()
	if err != nil {
		return err
	}
	o.Cainjector = filepath.Join(root, "bin", "cainjector")
	w, err := trial.NewWorld(ctx, trial.Options{Program: filepath.Join(root, "bin", "caject"), Replicas: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := load.Run(ctx, w, o, os.Stdout); err != nil {
		return fmt.Errorf("%w\n%s", err, w.Logs())
	}
	return nil
}
