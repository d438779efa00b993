package cabundle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCutTo(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	for sentence, test := range map[string]struct {
		bundle, keep []byte
		limit        int
		want         []byte
		dropped      int
	}{
		"what fits is left alone":       {concat(a, b), nil, len(a) + len(b), concat(a, b), 0},
		"the oldest goes":               {concat(a, b), nil, len(a) + len(b) - 1, b, 1},
		"but not what is to be kept":    {concat(a, b, c), a, len(a) + len(c), concat(a, c), 1},
		"what is kept may be too large": {concat(a, b, c), concat(a, c), 0, concat(a, c), 1},
		"nothing is kept":               {concat(a, b), nil, 0, nil, 2},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, dropped := ParseExisting(test.bundle).cutTo(test.limit, ParseExisting(test.keep))
			if diff := cmp.Diff(string(test.want), string(got.PEM())); diff != "" || dropped != test.dropped {
				t.Errorf("%d dropped\n%s", dropped, diff)
			}
		})
	}
}
