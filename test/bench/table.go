package bench

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// WriteTable writes all rows for people, under the heading of each group. A single value stands under median.
func (r *Report) WriteTable(out io.Writer) error {
	lines := [][]string{
		{"", "", "none", "", "caject", "", "", "", "cainjector", "", "", "", "caject/"},
		{"", "", "p25", "median", "n", "p25", "median", "p99", "n", "p25", "median", "p99", "cainjector"},
	}
	heading := ""
	for _, row := range r.rows {
		if row.Heading() != heading {
			heading = row.Heading()
			lines = append(lines, []string{heading})
		}
		lines = append(lines, row.line())
	}
	var text strings.Builder
	writeLines(&text, lines)
	for _, row := range r.rows {
		for _, subject := range []Subject{None, Caject, Cainjector} {
			if note := row.Notes[subject]; note != "" {
				fmt.Fprintf(&text, "* %s: %s, %s: %s\n", row.Heading(), row.What, subject, note)
			}
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// writeLines writes the cells of lines below each other, the first to the left and all others to the right. A line of one cell
// may be longer than that column.
func writeLines(text *strings.Builder, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		if len(line) == 1 {
			continue
		}
		for i, cell := range line {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, line := range lines {
		written := fmt.Sprintf("%-*s", widths[0], line[0])
		for i, cell := range line[1:] {
			written += fmt.Sprintf("  %*s", widths[i+1], cell)
		}
		text.WriteString(strings.TrimRight(written, " ") + "\n")
	}
}

// line returns the cells of a row.
func (r *Row) line() []string {
	p25, median, _ := r.cells(None)
	line := []string{"  " + r.What, string(r.Unit), p25, median}
	for _, subject := range []Subject{Caject, Cainjector} {
		count := ""
		if n := len(r.Values[subject]); n > 0 {
			count = strconv.Itoa(n)
		}
		p25, median, p99 := r.cells(subject)
		line = append(line, count, p25, median, p99)
	}
	if value, ok := r.Ratio(); ok {
		return append(line, number(value))
	}
	return append(line, "")
}

// cells returns what stands under p25, median and p99.
func (r *Row) cells(subject Subject) (p25, median, p99 string) {
	s, ok := r.Summary(subject)
	switch {
	case !ok && r.Notes[subject] != "":
		return "", "*", ""
	case !ok:
		return "", "", ""
	case s.N == 1:
		return "", number(s.Median), ""
	}
	return number(s.P25), number(s.Median), number(s.P99)
}

// number writes a value with three digits, or all before the point.
func number(value float64) string {
	digits := 2
	if size := math.Abs(value); size >= 1 {
		digits = max(0, 2-int(math.Log10(size)))
	} else if size > 0 && size < 0.1 {
		digits = 3
	}
	return strconv.FormatFloat(value, 'f', digits, 64)
}
