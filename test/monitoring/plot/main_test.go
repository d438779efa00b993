package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlot draws half a minute in which two replicas serve the sample, one of them from the tenth second on.
func TestPlot(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join("..", "testdata", "metrics.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var scrapes strings.Builder
	for second := range 30 {
		for replica := range 2 {
			if replica == 0 || second >= 10 {
				fmt.Fprintf(&scrapes, "# scrape %d %d\n%s", 1893456000_000+second*1000, replica, sample)
			}
		}
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "scrapes.txt"), filepath.Join(dir, "plot.svg")
	if err := os.WriteFile(in, []byte(scrapes.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{in, out}, filepath.Join("..", "..", "..", "charts", "caject", "files", "dashboard.json")); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append([]string{">injected<", ">GET 200<"}, titles...) {
		if !strings.Contains(string(svg), want) {
			t.Errorf("%s is not drawn", want)
		}
	}
}

func TestScrapesThatAreNone(t *testing.T) {
	for _, text := range []string{"", "caject_ready 1\n", "# scrape x\n", "# scrape 1 0\n{"} {
		if _, err := readScrapes(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
