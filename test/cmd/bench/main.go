// Command bench measures caject and cert-manager's cainjector side by side: make bench. It prints a table, and writes all figures
// as JSON and the plot as SVG.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caject/caject/test/bench"
	"github.com/caject/caject/test/playground"
)

func main() {
	quick := flag.Bool("quick", false, "do all with small numbers, in three minutes at most; the figures say nothing")
	secrets := flag.Int("secrets", 20_000, "the largest number of other Secrets")
	starts := flag.Bool("starts", false, "measure starts alone")
	jsonFile := flag.String("json", "bin/bench.json", "the file, from the project's top folder, that gets all figures")
	svgFile := flag.String("svg", "bin/benchmark.svg", "the file that gets the plot")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	o := bench.Defaults()
	if *secrets != o.Secrets[len(o.Secrets)-1] {
		o.Secrets = []int{0, *secrets / 4, *secrets}
	}
	if *quick {
		o = bench.Quick()
	}
	o.StartsOnly = *starts
	if *secrets < 1 {
		fmt.Fprintln(os.Stderr, "bench: -secrets must be at least 1: some of them are written")
		os.Exit(2)
	}
	if err := run(ctx, o, *jsonFile, *svgFile); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o bench.Options, jsonFile, svgFile string) error {
	root, err := playground.Root()
	if err != nil {
		return err
	}
	o.Caject, o.Cainjector = filepath.Join(root, "bin", "caject"), filepath.Join(root, "bin", "cainjector")
	report, failed := bench.Run(ctx, o, os.Stderr)
	return errors.Join(
		failed,
		report.WriteTable(os.Stdout),
		write(filepath.Join(root, jsonFile), report.WriteJSON),
		write(filepath.Join(root, svgFile), report.WriteSVG),
	)
}

// write makes a file of what to writes.
func write(path string, to func(io.Writer) error) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return to(file)
}
