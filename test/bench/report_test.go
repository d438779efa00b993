package bench

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// example is a report with each sort of row.
func example() *Report {
	r := &Report{About: map[string]string{"cpus": "2"}}
	for n, seconds := range map[int]float64{0: 1, 1000: 4} {
		for _, what := range []string{startFirst, startAPIServer} {
			r.Add(Key{startGroup, n, what, Seconds}, Cainjector, seconds)
			r.Add(Key{startGroup, n, what, Seconds}, Caject, seconds/100)
		}
	}
	for _, n := range []int{1, 500} {
		r.AddTimes(Key{policyGroup, n, policyCreatePlain, Milliseconds}, Caject, 2*time.Millisecond, 4*time.Millisecond)
		r.AddTimes(Key{policyGroup, n, policyCreatePlain, Milliseconds}, None, time.Millisecond)
		r.AddTimes(Key{policyGroup, n, policyCreateFilled, Milliseconds}, Caject, 5*time.Millisecond)
	}
	r.AddBytes(Key{startGroup, 0, startPeak, Megabytes}, Caject, 25_000_000)
	r.Note(Key{policyGroup, 5000, policyCreatePlain, Milliseconds}, Caject, "not measured: too slow")
	return r
}

func TestATable(t *testing.T) {
	r := &Report{}
	first, second := Key{"Start, %d Secrets", 0, "first", Seconds}, Key{"Start, %d Secrets", 20, "first", Seconds}
	r.AddTimes(first, Cainjector, 2*time.Second, time.Second, 3*time.Second)
	r.AddTimes(second, Cainjector, 20*time.Second)
	r.AddTimes(first, Caject, 50*time.Millisecond)
	r.Add(Key{"Start, %d Secrets", 0, "read", Megabytes}, None, 123.4)
	r.Note(second, Caject, "not measured: too slow")
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(table.String()) {
		got = append(got, strings.Fields(line))
	}
	want := [][]string{
		{"none", "caject", "cainjector", "caject/"},
		{"p25", "median", "n", "p25", "median", "p99", "n", "p25", "median", "p99", "cainjector"},
		{"Start,", "0", "Secrets"},
		{"first", "s", "1", "0.050", "3", "1.00", "2.00", "3.00", "0.025"},
		{"read", "MB", "123", "123"},
		{"Start,", "20", "Secrets"},
		{"first", "s", "*", "1", "20.0"},
		{"*", "Start,", "20", "Secrets:", "first,", "caject:", "not", "measured:", "too", "slow"},
	}
	want[4] = []string{"read", "MB", "123"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, table.String())
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	for want, value := range map[string]float64{
		"0.00": 0, "0.012": 0.0123, "0.12": 0.123, "1.23": 1.234, "12.3": 12.34, "123": 123.4, "1234": 1234.4, "-12.3": -12.34,
	} {
		if got := number(value); got != want {
			t.Errorf("%v is written %s, not %s", value, got, want)
		}
	}
}

func TestTheJSON(t *testing.T) {
	var text strings.Builder
	if err := example().WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var got struct {
		About map[string]string
		Rows  []struct {
			Key
			Measured map[Subject]struct {
				N      int
				Median float64
				Values []float64
			}
			Notes map[Subject]string
			Ratio float64
		}
	}
	if err := json.Unmarshal([]byte(text.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.About["cpus"] != "2" {
		t.Errorf("about is %v", got.About)
	}
	found := map[Key]bool{}
	for _, row := range got.Rows {
		found[row.Key] = true
		switch row.Key {
		case Key{startGroup, 1000, startFirst, Seconds}:
			if diff := cmp.Diff([]float64{4}, row.Measured[Cainjector].Values); diff != "" || row.Ratio != 0.01 {
				t.Errorf("ratio %v, %s", row.Ratio, diff)
			}
		case Key{policyGroup, 500, policyCreatePlain, Milliseconds}:
			if m := row.Measured[Caject]; m.N != 2 || m.Median != 2 {
				t.Errorf("measured is %v", m)
			}
		case Key{policyGroup, 5000, policyCreatePlain, Milliseconds}:
			if row.Notes[Caject] != "not measured: too slow" {
				t.Errorf("notes are %v", row.Notes)
			}
		}
	}
	if len(found) != 10 {
		t.Errorf("there are %d rows, not 10:\n%s", len(found), text.String())
	}
}

func TestThePlot(t *testing.T) {
	var text strings.Builder
	if err := example().WriteSVG(&text); err != nil {
		t.Fatal(err)
	}
	paths, words := 0, ""
	decoder := xml.NewDecoder(strings.NewReader(text.String()))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "path" {
				paths++
			}
		case xml.CharData:
			words += string(token) + "\n"
		}
	}
	for _, want := range []string{"Start to first injection", "API server's CPU for the start", "cainjector", "caject", "no policies", "not annotated", "1000", "500"} {
		if !strings.Contains(words, want) {
			t.Errorf("the plot does not say %q", want)
		}
	}
	if fewer := emptyPaths(t); paths <= fewer {
		t.Errorf("there are %d paths, and %d where nothing was measured", paths, fewer)
	}
	if fonts := strings.Count(text.String(), "font-family:"); fonts == 0 || fonts != strings.Count(text.String(), ",sans-serif;") {
		t.Error("some text has no other font where the first is not installed")
	}
}

// emptyPaths is how many paths the plot of an empty report has: axes and grids.
func emptyPaths(t *testing.T) int {
	t.Helper()
	var text strings.Builder
	if err := (&Report{}).WriteSVG(&text); err != nil {
		t.Fatal(err)
	}
	return strings.Count(text.String(), "<path")
}

func TestAnEmptyReportCanBeWritten(t *testing.T) {
	r := &Report{}
	if err := errors.Join(r.WriteTable(io.Discard), r.WriteJSON(io.Discard), r.WriteSVG(io.Discard)); err != nil {
		t.Error(err)
	}
}
