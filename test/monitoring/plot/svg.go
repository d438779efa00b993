package main

import (
	"bytes"
	"image/color"
	"io"
	"math"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// units are those of the dashboard, as an axis says them.
var units = map[string]string{"short": "", "ops": "per second", "reqps": "per second", "s": "seconds"}

// small is which part of the highest value of a panel a line must reach: else it is one of many along the axis.
const small = 0.02

// writeSVG draws four panels, two beside each other.
func writeSVG(out io.Writer, panels []*panel, begin time.Time) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	grid := [][]*plot.Plot{make([]*plot.Plot, 2), make([]*plot.Plot, 2)}
	for i, panel := range panels {
		p, err := panel.draw(begin)
		if err != nil {
			return err
		}
		grid[i/2][i%2] = p
	}
	canvas := vgsvg.New(22*vg.Centimeter, 17*vg.Centimeter)
	canvas.SetColor(color.White) // or it would be dark on dark where the page is
	canvas.Fill(vg.Rectangle{Max: vg.Point{X: 22 * vg.Centimeter, Y: 17 * vg.Centimeter}}.Path())
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

func (p *panel) draw(begin time.Time) (*plot.Plot, error) {
	drawn := plot.New()
	drawn.Title.Text, drawn.X.Label.Text, drawn.Y.Label.Text = p.Title, "seconds", units[p.FieldConfig.Defaults.Unit]
	drawn.X.Min, drawn.Y.Min = 0, 0
	drawn.Legend.Top, drawn.Legend.Left = true, true
	drawn.Legend.TextStyle.Font.Size = vg.Points(8)
	drawn.Add(plotter.NewGrid())
	highest := 0.0
	for _, line := range p.lines {
		highest = max(highest, line.highest())
	}
	color := 0
	for _, line := range p.lines {
		if line.highest() < small*highest {
			continue
		}
		var points plotter.XYs
		for _, point := range line.points {
			points = append(points, plotter.XY{X: time.UnixMilli(point.T).Sub(begin).Seconds(), Y: point.F})
		}
		l, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		l.Color, l.Dashes, l.Width = plotutil.Color(color), plotutil.Dashes(color/7), vg.Points(1.2)
		color++
		drawn.Add(l)
		drawn.Legend.Add(line.label, l)
	}
	drawn.Y.Max *= 1.6 // room for the legend
	drawn.X.Tick.Marker = seconds{}
	return drawn, nil
}

// seconds are ticks at round numbers, six or less.
type seconds struct{}

// Ticks implements [plot.Ticker].
func (seconds) Ticks(from, to float64) []plot.Tick {
	step := 10 * math.Ceil((to-from)/60)
	var ticks []plot.Tick
	for at := math.Ceil(from/step) * step; at <= to; at += step {
		ticks = append(ticks, plot.Tick{Value: at, Label: strconv.Itoa(int(at))})
	}
	return ticks
}
