package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestASummary(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for sentence, test := range map[string]struct {
		values []float64
		want   Summary
	}{
		"of nothing is zero":            {},
		"of one value is that value":    {values: []float64{7}, want: Summary{N: 1, P25: 7, Median: 7, P99: 7, Most: 7}},
		"of two takes the lower half":   {values: []float64{9, 1}, want: Summary{N: 2, P25: 1, Median: 1, P99: 9, Most: 9}},
		"of five":                       {values: []float64{5, 3, 1, 4, 2}, want: Summary{N: 5, P25: 2, Median: 3, P99: 5, Most: 5}},
		"of a hundred leaves out one":   {values: hundred, want: Summary{N: 100, P25: 25, Median: 50, P99: 99, Most: 100}},
		"of equal values is that value": {values: []float64{2, 2, 2}, want: Summary{N: 3, P25: 2, Median: 2, P99: 2, Most: 2}},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := append([]float64(nil), test.values...)
			if diff := cmp.Diff(test.want, Summarize(test.values)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, test.values, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the values have changed: %s", diff)
			}
		})
	}
}
