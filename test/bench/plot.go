package bench

import (
	"bytes"
	"image/color"
	"io"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// line is one of a panel: the medians of one row's subject over At.
type line struct {
	label   string
	what    string
	subject Subject
	color   color.Color
	dashes  []vg.Length
}

// panel is one of the four pictures of a plot.
type panel struct {
	title, x, y string
	group       string
	lines       []line
}

var (
	blue   = color.RGBA{R: 0x1f, G: 0x6f, B: 0xb4, A: 0xff}
	orange = color.RGBA{R: 0xd9, G: 0x6b, B: 0x0b, A: 0xff}
	grey   = color.RGBA{R: 0x80, G: 0x80, B: 0x80, A: 0xff}
)

// panels are what is drawn.
func panels() []panel {
	both := func(title, y, what string) panel {
		return panel{title: title, x: "other Secrets in the cluster", y: y, group: startGroup, lines: []line{
			{label: "cainjector", what: what, subject: Cainjector, color: orange},
			{label: "caject", what: what, subject: Caject, color: blue},
		}}
	}
	return []panel{
		both("Start to first injection", "seconds", startFirst),
		both("Most memory held in the start", "MB resident", startPeak),
		both("API server's CPU for the start", "seconds", startAPIServer),
		{title: "Create a webhook configuration", x: "published sources", y: "ms (p25)", group: policyGroup, lines: []line{
			{label: "filled", what: policyCreateFilled, subject: Caject, color: blue},
			{label: "not annotated", what: policyCreatePlain, subject: Caject, color: blue, dashes: []vg.Length{4, 2}},
			{label: "no policies", what: policyCreatePlain, subject: None, color: grey},
		}},
	}
}

// WriteSVG draws start, memory and the API server's CPU over the number of Secrets, and the cost of a write over the number of
// published sources.
func (r *Report) WriteSVG(out io.Writer) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	grid := [][]*plot.Plot{make([]*plot.Plot, 2), make([]*plot.Plot, 2)}
	for i, panel := range panels() {
		p, err := r.draw(panel)
		if err != nil {
			return err
		}
		grid[i/2][i%2] = p
	}
	canvas := vgsvg.New(22*vg.Centimeter, 15*vg.Centimeter)
	canvas.SetColor(color.White) // or it would be dark on dark where the page is
	canvas.Fill(vg.Rectangle{Max: vg.Point{X: 22 * vg.Centimeter, Y: 15 * vg.Centimeter}}.Path())
	tiles := draw.Tiles{Rows: 2, Cols: 2, PadX: 8 * vg.Millimeter, PadY: 6 * vg.Millimeter,
		PadTop: 3 * vg.Millimeter, PadBottom: 2 * vg.Millimeter, PadLeft: 2 * vg.Millimeter, PadRight: 5 * vg.Millimeter}
	for y, canvases := range plot.Align(grid, tiles, draw.New(canvas)) {
		for x, c := range canvases {
			grid[y][x].Draw(c)
		}
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// Arial is as wide, letter for letter; and without any of them it is not to be a font with serifs.
	const drawn = "font-family:Liberation Sans"
	_, err := out.Write(bytes.ReplaceAll(svg.Bytes(), []byte(drawn), []byte(drawn+",Arial,Helvetica,sans-serif")))
	return err
}

func (r *Report) draw(panel panel) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = panel.title, panel.x, panel.y
	p.Y.Min, p.X.Min = 0, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for _, l := range panel.lines {
		points := r.points(panel.group, l)
		if len(points) == 0 {
			continue
		}
		drawn, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		drawn.Color, drawn.Width, drawn.Dashes = l.color, vg.Points(1.5), l.dashes
		dots.Color, dots.Shape, dots.Radius = l.color, draw.CircleGlyph{}, vg.Points(2.2)
		p.Add(drawn, dots)
		p.Legend.Add(l.label, drawn, dots)
	}
	p.Y.Max *= 1.25 // room for the legend
	p.X.Tick.Marker = r.ticks(panel)
	return p, nil
}

// points are the medians of a line, the p25 where the panel is about the policies: a few tenths of a millisecond, which the
// noise of a busy machine hides in the median.
func (r *Report) points(group string, l line) plotter.XYs {
	var points plotter.XYs
	for _, row := range r.rows {
		if row.Group != group || row.What != l.what {
			continue
		}
		if s, ok := row.Summary(l.subject); ok {
			y := s.Median
			if group == policyGroup {
				y = s.P25
			}
			points = append(points, plotter.XY{X: float64(row.At), Y: y})
		}
	}
	return points
}

// ticks are where something was measured, without those that would lie on one another.
func (r *Report) ticks(panel panel) plot.ConstantTicks {
	most, last := 0, -1
	for _, row := range r.rows {
		if row.Group == panel.group {
			most = max(most, row.At)
		}
	}
	var ticks plot.ConstantTicks
	for _, row := range r.rows {
		if row.Group != panel.group || row.At == last {
			continue
		}
		tick := plot.Tick{Value: float64(row.At)}
		if last < 0 || row.At-last > most/12 {
			tick.Label = strconv.Itoa(row.At)
			last = row.At
		}
		ticks = append(ticks, tick)
	}
	return ticks
}
