package load

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is a line of the table.
type row struct {
	what   string
	took   []time.Duration // of each
	answer int             // how many were filled in the answer to the request
	whole  time.Duration
}

// at returns the time that a share of all do not exceed, in milliseconds.
func (r row) at(share float64) string {
	sorted := slices.Sorted(slices.Values(r.took))
	return fmt.Sprintf("%.0f ms", float64(sorted[int(share*float64(len(sorted)-1))].Microseconds())/1000)
}

// write writes rows as a table, each with that of the peer beside it that has the same name, if there is one.
func write(out io.Writer, rows, peer []row) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\tfilled in the answer\tmedian\tp99\tmost\tall after")
	if len(peer) > 0 {
		fmt.Fprint(table, "\tcainjector: median\tp99\tmost\tall after")
	}
	fmt.Fprintln(table)
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%d of %d\t%s\t%s\t%s\t%.1f s", r.what, r.answer, len(r.took), r.at(0.5), r.at(0.99), r.at(1), r.whole.Seconds())
		if len(peer) > 0 {
			fmt.Fprintf(table, "\t%s", beside(r, peer))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
}

// beside returns the cells of the peer's row.
func beside(r row, peer []row) string {
	i := slices.IndexFunc(peer, func(other row) bool { return other.what == r.what })
	if i < 0 {
		return "-\t-\t-\t-"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%.1f s", peer[i].at(0.5), peer[i].at(0.99), peer[i].at(1), peer[i].whole.Seconds())
}
