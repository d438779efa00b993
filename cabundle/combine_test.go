package cabundle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithoutRetired(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	retiring := func(certificates ...[]byte) map[string]bool {
		retired := map[string]bool{}
		for _, certificate := range ParseExisting(concat(certificates...)).certificates {
			retired[Fingerprint(certificate)] = true
		}
		return retired
	}
	for sentence, test := range map[string]struct {
		existing, source []byte
		retired          map[string]bool
		combine          Combine
		want             []byte
	}{
		"nothing is retired":                 {concat(a, b), b, nil, Merge, concat(a, b)},
		"what is retired goes":               {concat(a, b), b, retiring(a), Merge, b},
		"what was never of the source stays": {concat(c, a), b, retiring(a), Merge, concat(c, b)},
		"what the source holds stays":        {concat(a, b), b, retiring(a, b), Merge, b},
		"all that was there is retired":      {a, b, retiring(a), Merge, b},
		"without merging":                    {a, concat(a, b), retiring(a), Replace, concat(a, b)},
	} {
		t.Run(sentence, func(t *testing.T) {
			existing := ParseExisting(test.existing)
			got := test.combine.Without(test.retired)(now, existing, ParseExisting(test.source))
			if diff := cmp.Diff(string(test.want), string(got.PEM())); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(string(test.existing), string(existing.PEM())); diff != "" {
				t.Errorf("what was given is changed: %s", diff)
			}
		})
	}
}

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
