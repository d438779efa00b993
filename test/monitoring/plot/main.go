// Command plot draws some panels of the dashboard as Prometheus' engine evaluates them, over what caject served in a run:
//
//	bin/soak -duration 1m -replicas 2 -lifetime 1h -scrapes bin/scrapes.txt
//	cd test/monitoring && go run ./plot ../../bin/scrapes.txt ../../docs/metrics.svg
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// titles are the panels that are drawn.
var titles = []string{"Annotated objects by state", "Injections", "Reads of sources", "Requests to the API server"}

func main() {
	if err := run(os.Args[1:], filepath.Join("..", "..", "charts", "caject", "files", "dashboard.json")); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

// run draws panels of dashboard, a file.
func run(args []string, dashboard string) error {
	if len(args) != 2 {
		return errors.New("usage: plot SCRAPES SVG")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	r, err := readScrapes(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	panels, err := readPanels(dashboard)
	if err != nil {
		return err
	}
	if err := r.ask(context.Background(), panels); err != nil {
		return err
	}
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	return errors.Join(writeSVG(out, panels, r.begin), out.Close())
}

// panel is one of the dashboard, with what its queries gave.
type panel struct {
	Title       string
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ Expr, LegendFormat string }

	lines []line
}

// line is one of a panel.
type line struct {
	label  string
	points []promql.FPoint // numbers all
}

// highest is the highest value of the line.
func (l line) highest() float64 {
	highest := math.Inf(-1)
	for _, point := range l.points {
		highest = max(highest, point.F)
	}
	return highest
}

// readPanels reads those of the dashboard that are drawn.
func readPanels(path string) ([]*panel, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var dashboard struct{ Panels []*panel }
	if err := json.Unmarshal(text, &dashboard); err != nil {
		return nil, err
	}
	var found []*panel
	for _, title := range titles {
		for _, p := range dashboard.Panels {
			if p.Title == title {
				found = append(found, p)
			}
		}
	}
	if len(found) != len(titles) {
		return nil, fmt.Errorf("%s has not all of %q", path, titles)
	}
	return found, nil
}

// ask has Prometheus evaluate the queries of panels over the run.
func (r *recording) ask(ctx context.Context, panels []*panel) error {
	loader, err := promqltest.NewLazyLoader(r.load(), promqltest.LazyLoaderOpts{StartTime: r.begin})
	if err != nil {
		return err
	}
	loader.WithSamplesTill(r.end, func(e error) { err = e })
	if err != nil {
		return errors.Join(err, loader.Close())
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 10_000_000, Timeout: time.Minute})
	for _, p := range panels {
		for _, target := range p.Targets {
			query := strings.NewReplacer("$job", job, "$__rate_interval", rateInterval).Replace(target.Expr)
			q, err := engine.NewRangeQuery(ctx, loader.Storage(), nil, query, r.begin, r.end, time.Second)
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", query, err), loader.Close())
			}
			matrix, err := q.Exec(ctx).Matrix()
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", query, err), loader.Close())
			}
			for _, series := range matrix {
				numbers := slices.DeleteFunc(series.Floats, func(p promql.FPoint) bool { return math.IsNaN(p.F) || math.IsInf(p.F, 0) })
				p.lines = append(p.lines, line{legend(target.LegendFormat, series), slices.Clone(numbers)})
			}
		}
	}
	return errors.Join(engine.Close(), loader.Close())
}

// placeholder is a label in a legend.
var placeholder = regexp.MustCompile(`{{ *([a-z_]+) *}}`)

// legend fills in a legend as Grafana does: a label that is not there is empty.
func legend(format string, series promql.Series) string {
	return strings.TrimSpace(placeholder.ReplaceAllStringFunc(format, func(found string) string {
		return series.Metric.Get(placeholder.FindStringSubmatch(found)[1])
	}))
}
