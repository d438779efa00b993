package policycost

import (
	"strings"
	"testing"
)

// TestTheCostIsMeasured is a little of what make policycost does. It is not about how much it is.
func TestTheCostIsMeasured(t *testing.T) {
	var table strings.Builder
	if err := Run(t.Context(), Options{Sources: []int{1, 200}, Writes: 20, Rotations: 10}, &table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	if lines := strings.Count(table.String(), "\n"); lines != 1+2*5+1 {
		t.Errorf("%d lines", lines)
	}
}
