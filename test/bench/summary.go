package bench

import (
	"math"
	"slices"
)

// Summary is what is told of some measured values, in their unit.
type Summary struct {
	// N is how many there are.
	N int `json:"n"`
	// P25, Median and P99 are values that were measured, not between two of them; Most is the largest.
	P25    float64 `json:"p25"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Most   float64 `json:"most"`
}

// Summarize returns that of values; the zero Summary if there are none.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	// The nearest rank: the least value that is not exceeded by this share of all.
	at := func(share float64) float64 { return sorted[int(math.Ceil(share*float64(len(sorted))))-1] }
	return Summary{N: len(sorted), P25: at(0.25), Median: at(0.5), P99: at(0.99), Most: sorted[len(sorted)-1]}
}
