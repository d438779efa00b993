package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Subject is what a figure was measured with.
type Subject string

// The subjects: neither injector, and each of them alone.
const (
	None       Subject = "none"
	Caject     Subject = "caject"
	Cainjector Subject = "cainjector"
)

// Unit is what a figure is counted in.
type Unit string

// The units. A megabyte is 1,000,000 bytes.
const (
	Milliseconds Unit = "ms"
	Seconds      Unit = "s"
	Megabytes    Unit = "MB"
	Percent      Unit = "%"
)

// Key names a row.
type Key struct {
	// Group is the heading above the row, where %d stands for At, such as a number of Secrets.
	Group string `json:"group"`
	At    int    `json:"at"`
	What  string `json:"what"`
	Unit  Unit   `json:"unit"`
}

// Heading is Group with At in it.
func (k Key) Heading() string {
	if strings.Contains(k.Group, "%d") {
		return fmt.Sprintf(k.Group, k.At)
	}
	return k.Group
}

// Row is one thing that was measured with one subject or several.
type Row struct {
	Key
	// Values are in the row's unit, in the order of their measurement.
	Values map[Subject][]float64
	// Notes say why there are no values.
	Notes map[Subject]string
}

// Report is all that a run has measured. The zero value is empty.
type Report struct {
	// About says what was measured where, such as the number of CPUs.
	About map[string]string
	rows  []*Row
}

// Row returns the row of a key, a new one at the end of its group if it is not there yet.
func (r *Report) Row(key Key) *Row {
	end := len(r.rows)
	for i, row := range r.rows {
		if row.Key == key {
			return row
		}
		if row.Heading() == key.Heading() {
			end = i + 1
		}
	}
	row := &Row{Key: key, Values: map[Subject][]float64{}, Notes: map[Subject]string{}}
	r.rows = slices.Insert(r.rows, end, row)
	return row
}

// Rows returns all, group by group.
func (r *Report) Rows() []*Row { return r.rows }

// Add adds values, in the unit of the key.
func (r *Report) Add(key Key, subject Subject, values ...float64) {
	row := r.Row(key)
	row.Values[subject] = append(row.Values[subject], values...)
}

// AddTimes adds durations to a row in Milliseconds or Seconds.
func (r *Report) AddTimes(key Key, subject Subject, took ...time.Duration) {
	for _, d := range took {
		value := d.Seconds()
		if key.Unit == Milliseconds {
			value *= 1000
		}
		r.Add(key, subject, value)
	}
}

// AddBytes adds sizes, in bytes, to a row in Megabytes.
func (r *Report) AddBytes(key Key, subject Subject, sizes ...int64) {
	for _, n := range sizes {
		r.Add(key, subject, float64(n)/1e6)
	}
}

// Note says why there is no value.
func (r *Report) Note(key Key, subject Subject, text string) { r.Row(key).Notes[subject] = text }

// Summary returns that of a row with one subject, and whether there is any.
func (r *Row) Summary(subject Subject) (Summary, bool) {
	values := r.Values[subject]
	return Summarize(values), len(values) > 0
}

// Ratio returns the median with caject in relation to that with cainjector, and whether there are both.
func (r *Row) Ratio() (float64, bool) {
	caject, ok := r.Summary(Caject)
	cainjector, also := r.Summary(Cainjector)
	if !ok || !also || cainjector.Median == 0 {
		return 0, false
	}
	return caject.Median / cainjector.Median, true
}

// WriteJSON writes all as one JSON object: "about", and "rows", each with its key, and by subject the values and their summary.
func (r *Report) WriteJSON(out io.Writer) error {
	type measured struct {
		Summary
		Values []float64 `json:"values"`
	}
	type row struct {
		Key
		Measured map[Subject]measured `json:"measured"`
		Notes    map[Subject]string   `json:"notes,omitempty"`
		Ratio    float64              `json:"ratio,omitempty"`
	}
	var all struct {
		About map[string]string `json:"about"`
		Rows  []row             `json:"rows"`
	}
	all.About = r.About
	for _, from := range r.rows {
		to := row{Key: from.Key, Measured: map[Subject]measured{}, Notes: from.Notes}
		for subject, values := range from.Values {
			to.Measured[subject] = measured{Summarize(values), values}
		}
		to.Ratio, _ = from.Ratio()
		all.Rows = append(all.Rows, to)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", " ")
	return encoder.Encode(all)
}
