package playground

import (
	"testing"
	"time"
)

func TestTheCPUTimeOfAProcess(t *testing.T) {
	for sentence, test := range map[string]struct {
		stat string
		want time.Duration
		fail bool
	}{
		"user and kernel mode are added":     {stat: "7 (etcd) S 1 1 1 0 -1 4194304 129 0 1 0 125 30 9 9 20 0 1 0", want: 1550 * time.Millisecond},
		"a name with blanks and parentheses": {stat: "7 (a) b (c) S 1 1 1 0 -1 4194304 129 0 1 0 1 2 9 9 20 0 1 0", want: 30 * time.Millisecond},
		"a line that is cut off":             {stat: "7 (etcd) S 1 1 1", fail: true},
		"what is no number":                  {stat: "7 (etcd) S 1 1 1 0 -1 4194304 129 0 1 0 x 30 9 9", fail: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := parseCPU(test.stat)
			if got != test.want || (err != nil) != test.fail {
				t.Errorf("got %v, %v; want %v, an error: %v", got, err, test.want, test.fail)
			}
		})
	}
}
