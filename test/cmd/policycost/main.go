// Command policycost prints what the chart's policies cost each write, by the number of sources: make policycost.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/caject/caject/test/policycost"
)

func main() {
	o := policycost.Options{Sources: []int{1, 50, 500, 5000}}
	flag.IntVar(&o.Writes, "writes", 200, "how many writes of each sort are measured")
	flag.IntVar(&o.Rotations, "rotations", 200, "how often one source is rotated in the end")
	flag.DurationVar(&o.Pause, "pause", 100*time.Millisecond, "how long to wait between two rotations")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := policycost.Run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "policycost:", err)
		os.Exit(1)
	}
}
