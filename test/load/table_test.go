package load

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheTable(t *testing.T) {
	rows := []row{
		{what: "created", answer: 1, took: []time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}, whole: 1500 * time.Millisecond},
		{what: "applied", took: []time.Duration{time.Millisecond}, whole: time.Second},
	}
	peer := []row{{what: "created", took: []time.Duration{7 * time.Millisecond}, whole: 2 * time.Second}}
	for sentence, test := range map[string]struct {
		peer []row
		want []string
	}{
		"of caject alone": {want: []string{
			"filled in the answer median p99 most all after",
			"created 1 of 3 2 ms 2 ms 3 ms 1.5 s",
			"applied 0 of 1 1 ms 1 ms 1 ms 1.0 s",
		}},
		"with cainjector's figures beside those that it has": {peer: peer, want: []string{
			"filled in the answer median p99 most all after cainjector: median p99 most all after",
			"created 1 of 3 2 ms 2 ms 3 ms 1.5 s 7 ms 7 ms 7 ms 2.0 s",
			"applied 0 of 1 1 ms 1 ms 1 ms 1.0 s - - - -",
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			var text strings.Builder
			write(&text, rows, test.peer)
			var got []string
			for line := range strings.Lines(text.String()) {
				got = append(got, strings.Join(strings.Fields(line), " "))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
