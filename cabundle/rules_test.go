package cabundle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRulesCombine(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	rotated := History{}.Observe(now, read(1, a)).Observe(now, read(2, b))
	retired := rotated.Retire(now.Add(30*time.Minute), time.Minute)
	distrusted := distrust(rotated, fingerprints(a))
	withdrawn := rotated.Observe(now, fail(3, SourceNotAllowed))
	expired := History{}.Observe(now.Add(-48*time.Hour), read(1, expiredCA("expired")))
	tests := map[string]struct {
		rules            Rules
		history          History
		existing, source []byte
		want             []byte
	}{
		"nothing is known of the source":                             {existing: a, source: b, want: concat(a, b)},
		"an empty field gets what the source had, too":               {history: rotated, source: b, want: concat(a, b)},
		"but not what is retired":                                    {history: retired, source: b, want: b},
		"nor what is distrusted":                                     {history: distrusted, source: b, want: b},
		"what is retired leaves":                                     {history: retired, existing: concat(a, b), source: b, want: b},
		"what was never of the source stays":                         {history: retired, existing: concat(c, a), source: b, want: concat(c, b)},
		"what the source holds stays":                                {history: retired, existing: concat(a, b), source: a, want: concat(a, b)},
		"all that was there is retired":                              {history: retired, existing: a, source: b, want: b},
		"what is distrusted leaves":                                  {history: distrusted, existing: concat(c, a, b), source: concat(a, b), want: concat(c, b)},
		"unless the source holds nothing else":                       {history: distrusted, existing: concat(c, a), source: a, want: concat(c, a)},
		"one that lacks what the source had gets it":                 {history: rotated, existing: b, source: b, want: concat(b, a)},
		"one of another source keeps that":                           {history: rotated, existing: c, source: b, want: concat(c, a, b)},
		"nothing to be had: an empty field gets what the source had": {history: rotated, want: concat(a, b)},
		"nothing to be had: what is there stays":                     {history: rotated, existing: c, want: c},
		"nothing to be had, one is distrusted":                       {history: distrusted, want: b},
		"nothing to be had, opt-in withdrawn":                        {history: withdrawn},
		"nothing to be had, all that it had has expired":             {history: expired},
		"nothing to be had, without merging: what it had last":       {rules: Rules{Replace: true}, history: rotated, want: b},
		"without merging":                                            {rules: Rules{Replace: true}, history: rotated, existing: a, source: b, want: b},
		"without merging, what is distrusted leaves":                 {rules: Rules{Replace: true}, history: distrusted, existing: c, source: concat(a, b), want: b},
		"distrusted by the administrator, known or not": {
			rules: Rules{Distrusted: fingerprints(c)}, history: rotated, existing: concat(c, a), source: b, want: concat(a, b),
		},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			existing := bundleOf(test.existing)
			got := test.rules.Combine(test.history)(now, existing, bundleOf(test.source))
			if diff := cmp.Diff(string(test.want), string(got.PEM())); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(string(test.existing), string(existing.PEM())); diff != "" {
				t.Errorf("what was given is changed: %s", diff)
			}
		})
	}
}

func TestRulesJudge(t *testing.T) {
	a, b, expired := ca("a"), ca("b"), expiredCA("expired")
	known := History{}.Observe(now, read(1, a, b))
	for sentence, test := range map[string]struct {
		history History
		reading Reading
		want    Reason
	}{
		"all is trusted":                           {known, read(1, a, b), ""},
		"one of two is distrusted":                 {distrust(known, fingerprints(a)), read(1, a, b), ""},
		"all are distrusted":                       {distrust(known, fingerprints(a, b)), read(1, a, b), SourceDistrusted},
		"the others have expired":                  {distrust(known, fingerprints(a)), read(1, expired, a), SourceDistrusted},
		"all have expired: that is another matter": {distrust(known, fingerprints(a)), read(1, expired), ""},
		"it could not be read":                     {distrust(known, fingerprints(a)), fail(0, SourceNotFound), SourceNotFound},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := Rules{}.Judge(now, test.history, test.reading)
			switch {
			case test.want == "" && got.Problem != nil, test.want != "" && (got.Problem == nil || got.Problem.Reason != test.want):
				t.Errorf("problem is %+v", got.Problem)
			case test.want != "" && !got.Bundle.Empty():
				t.Error("it is injected all the same")
			}
		})
	}
}

func TestRulesPublished(t *testing.T) {
	a, b, expired := ca("a"), ca("b"), expiredCA("expired")
	rotated := History{}.Observe(now, read(1, a)).Observe(now, read(2, b))
	replace := Rules{Replace: true}
	for sentence, test := range map[string]struct {
		rules   Rules
		history History
		reading Reading
		before  []byte
		want    []byte
	}{
		"merging: all that the source had":                       {Rules{}, rotated, read(2, b), a, concat(a, b)},
		"without merging: what the source has, as it stands":     {replace, rotated, read(2, b, a, b), a, concat(b, a, b)},
		"without merging, nothing to be had: what was published": {replace, rotated, fail(0, SourceNotFound), a, a},
		"without merging, all expired: what was published":       {replace, rotated, read(3, expired), a, a},
		"without merging, opt-in withdrawn: nothing":             {replace, rotated, fail(3, SourceNotAllowed), a, nil},
		"merging: without what is distrusted":                    {Rules{}, distrust(rotated, fingerprints(b)), read(2, b), nil, a},
		"without merging, one is distrusted":                     {replace, distrust(rotated, fingerprints(a)), read(3, a, b), a, b},
		"without merging, all that it has is distrusted":         {replace, distrust(rotated, fingerprints(b)), fail(0, SourceDistrusted), b, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := test.rules.Published(now, test.history, test.reading, bundleOf(test.before))
			if diff := cmp.Diff(string(test.want), string(got.PEM())); diff != "" {
				t.Error(diff)
			}
		})
	}
}
