package certs

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
)

// TestPlan names CAs by letters: a signs, b is next, and so on.
func TestPlan(t *testing.T) {
	const lifetime, leafLifetime = 24 * time.Hour, time.Hour
	made := map[string]*pair{}
	for name, at := range map[string]time.Time{"a": now, "b": now, "old": now.Add(-23 * time.Hour), "gone": now.Add(-25 * time.Hour), "due": now.Add(-17 * time.Hour), "future": now.Add(2 * time.Hour)} {
		p, err := newPair(at, lifetime)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = p
	}
	bundle := func(names ...string) (all cabundle.Bundle) {
		for _, name := range names {
			all = cabundle.Merge(now.Add(-24*time.Hour), all, made[name].bundle())
		}
		return all
	}
	ca := func(signs, next string, since time.Time, trusted ...string) *authority {
		return &authority{pair: *made[signs], next: made[next], trusted: bundle(trusted...), signsSince: since}
	}
	names := func(bundle cabundle.Bundle) (all []string) {
		for _, certificate := range bundle.Certificates() {
			name := "new"
			for known, p := range made {
				if p.certificate.Equal(certificate) {
					name = known
				}
			}
			all = append(all, name)
		}
		return all
	}
	asked := func(a *authority, madeFor string, distrusted ...string) *authority {
		a.request = "ticket 7"
		if madeFor != "" {
			a.made = made[madeFor].fingerprint()
		}
		for _, name := range distrusted {
			a.distrusted = append(a.distrusted, made[name].fingerprint())
		}
		return a
	}
	distrusting := func(a *authority, distrusted ...string) *authority {
		a = asked(a, "", distrusted...)
		a.request = ""
		return a
	}
	soon, late := now.Add(-leafChange(time.Minute)+time.Second), now.Add(-leafChange(time.Minute))
	bad, long := errors.New("damaged"), now.Add(-2*time.Hour)
	type want struct {
		step    step
		signs   string
		trusted []string
		next    bool
	}
	for sentence, test := range map[string]struct {
		stored   *authority
		wrong    error
		held     *authority
		found    content
		trusted  bool // by all callers, for long
		others   bool
		forgot   bool // callers trust others than held
		want     want
		nobodyIs error
	}{
		"all is well":                                 {stored: ca("a", "", long, "a"), want: want{nothing, "a", []string{"a"}, false}},
		"the first of all":                            {wrong: errNoAuthority, want: want{create, "new", []string{"new"}, false}},
		"due: the next is trusted first":              {stored: ca("due", "", long, "due"), want: want{prepare, "due", []string{"due", "new"}, true}},
		"not trusted by all yet":                      {stored: ca("due", "b", long, "due", "b"), want: want{nothing, "due", []string{"due", "b"}, true}},
		"trusted by all: it signs":                    {stored: ca("due", "b", long, "due", "b"), trusted: true, want: want{promote, "b", []string{"due", "b"}, false}},
		"leaves of the former one may be alive":       {stored: ca("b", "", now.Add(-leafLifetime), "due", "b"), want: want{nothing, "b", []string{"due", "b"}, false}},
		"none can be: it goes":                        {stored: ca("b", "", now.Add(-leafLifetime-dropMargin-time.Second), "due", "b"), want: want{drop, "b", []string{"b"}, false}},
		"it goes, and the next one stays":             {stored: ca("due", "b", long, "old", "due", "b"), want: want{drop, "due", []string{"due", "b"}, true}},
		"nobody knows since when it signs":            {stored: ca("b", "", time.Time{}, "due", "b"), want: want{nothing, "b", []string{"due", "b"}, false}},
		"emptied: the one in memory is restored":      {wrong: errNoAuthority, held: ca("a", "", long, "a"), others: true, want: want{restore, "a", []string{"a"}, false}},
		"damaged: the one in memory is restored":      {wrong: bad, held: ca("a", "b", long, "a", "b"), found: content{trusted: bundle("old")}, want: want{restore, "a", []string{"a", "b"}, true}},
		"emptied, nothing in memory: others may":      {wrong: errNoAuthority, others: true, nobodyIs: errOthers},
		"damaged, nothing in memory: others may":      {wrong: bad, others: true, nobodyIs: errOthers},
		"damaged, nothing anywhere":                   {wrong: bad, found: content{trusted: bundle("old")}, want: want{replace, "new", []string{"old", "new"}, false}},
		"what is in memory has expired":               {wrong: bad, held: ca("gone", "", long, "gone", "a"), want: want{replace, "new", []string{"a", "new"}, false}},
		"expired or damaged, but there is a next one": {wrong: bad, found: content{trusted: bundle("gone", "b"), next: made["b"]}, others: true, want: want{promote, "b", []string{"gone", "b"}, false}},
		"another one was put there":                   {stored: ca("b", "", long, "b"), held: ca("a", "", long, "a"), want: want{adopt, "b", []string{"a", "b"}, false}},
		"another one, and the one before has expired": {stored: ca("b", "", long, "b"), held: ca("gone", "", long, "gone"), want: want{nothing, "b", []string{"b"}, false}},

		"a new one is asked for":                           {stored: asked(ca("a", "", long, "a"), ""), want: want{renew, "a", []string{"a", "new"}, true}},
		"asked for, and an older next one is there":        {stored: asked(ca("due", "b", long, "due", "b"), ""), trusted: true, want: want{renew, "due", []string{"due", "b", "new"}, true}},
		"asked for, and one was made for a former request": {stored: asked(ca("a", "b", long, "a", "b"), "old"), trusted: true, want: want{renew, "a", []string{"a", "b", "new"}, true}},
		"asked for, made, and not trusted by all yet":      {stored: asked(ca("a", "b", long, "a", "b"), "b"), want: want{nothing, "a", []string{"a", "b"}, true}},
		"asked for, made, and trusted by all":              {stored: asked(ca("a", "b", long, "a", "b"), "b"), trusted: true, want: want{promote, "b", []string{"a", "b"}, false}},
		"it signs, and a replica may not know":             {stored: asked(ca("b", "", soon, "a", "b"), "b"), want: want{nothing, "b", []string{"a", "b"}, false}},
		"it signs, and all know":                           {stored: asked(ca("b", "", late, "due", "a", "b"), "b"), want: want{withdraw, "b", []string{"b"}, false}},
		"it signs, and nobody knows since when":            {stored: asked(ca("b", "", time.Time{}, "a", "b"), "b"), want: want{renew, "b", []string{"a", "b", "new"}, true}},
		"it signs, and the next of it signs already":       {stored: asked(ca("due", "b", now, "a", "due", "b"), "due"), trusted: true, want: want{promote, "b", []string{"a", "due", "b"}, false}},
		"a former one is dropped by withdraw alone":        {stored: asked(ca("a", "b", long, "old", "a", "b"), "b"), want: want{nothing, "a", []string{"old", "a", "b"}, true}},
		"people distrust a former one":                     {stored: distrusting(ca("b", "", now, "due", "a", "b"), "a"), want: want{drop, "b", []string{"due", "b"}, false}},
		"the one before is distrusted: no adoption":        {stored: distrusting(ca("b", "", long, "b"), "a"), held: ca("a", "", long, "a"), want: want{nothing, "b", []string{"b"}, false}},
		"another one, and one of before is distrusted":     {stored: distrusting(ca("b", "", long, "b"), "old"), held: ca("a", "", long, "old", "a"), want: want{adopt, "b", []string{"a", "b"}, false}},

		"emptied, and the one in memory is distrusted":   {wrong: errNoAuthority, held: ca("a", "", long, "a"), found: content{renewal: renewal{distrusted: []string{made["a"].fingerprint()}}}, others: true, nobodyIs: errOthers},
		"so, and nobody restores one":                    {wrong: errNoAuthority, held: ca("a", "", long, "a"), found: content{renewal: renewal{distrusted: []string{made["a"].fingerprint()}}}, want: want{create, "new", []string{"new"}, false}},
		"emptied, and callers have forgotten it":         {wrong: errNoAuthority, held: ca("a", "", long, "a"), forgot: true, others: true, nobodyIs: errOthers},
		"so, and nobody restores another":                {wrong: errNoAuthority, held: ca("a", "", long, "a"), forgot: true, want: want{create, "new", []string{"new"}, false}},
		"a distrusted one was put back":                  {wrong: errDistrusted, held: distrusting(ca("b", "", long, "b"), "a"), others: true, want: want{restore, "b", []string{"b"}, false}},
		"people distrust the one that signs":             {wrong: errDistrusted, held: ca("a", "", long, "a"), found: content{trusted: bundle("due", "a"), renewal: renewal{distrusted: []string{made["a"].fingerprint()}}}, others: true, want: want{replace, "new", []string{"due", "new"}, false}},
		"so, and there is a next one":                    {wrong: errDistrusted, held: ca("a", "b", long, "a", "b"), found: content{trusted: bundle("a", "b"), next: made["b"], renewal: renewal{distrusted: []string{made["a"].fingerprint()}}}, want: want{promote, "b", []string{"b"}, false}},
		"what is in memory begins in the future":         {wrong: bad, held: ca("future", "", long, "future"), want: want{replace, "new", []string{"future", "new"}, false}},
		"restored without a next one that is distrusted": {wrong: bad, held: distrusting(ca("a", "b", long, "a", "b"), "b"), want: want{restore, "a", []string{"a"}, false}},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := rotation{caLifetime: lifetime, leafLifetime: leafLifetime, trustDelay: time.Minute}
			before := ""
			if test.stored != nil {
				before = test.stored.trusted.Digest()
			}
			test.found.authority, test.found.wrong = test.stored, test.wrong
			v := view{held: test.held, others: test.others, forgotten: test.forgot, trusted: map[string]bool{}}
			for _, p := range made {
				v.trusted[p.fingerprint()] = test.trusted
			}
			got, step, err := r.plan(now, test.found, v)
			if !errors.Is(err, test.nobodyIs) {
				t.Fatal(err)
			}
			if test.stored != nil && test.stored.trusted.Digest() != before {
				t.Error("what is stored was changed")
			}
			if test.nobodyIs != nil {
				return
			}
			if diff := cmp.Diff(test.want, want{step, names(got.pair.bundle())[0], names(got.trusted), got.next != nil}, cmp.AllowUnexported(want{})); diff != "" {
				t.Error(diff)
			}
			if (step == promote || step == create || step == replace || step == adopt) && !got.signsSince.Equal(now) {
				t.Errorf("it signs since %v", got.signsSince)
			}
			switch asked := test.stored != nil && test.stored.request != ""; {
			case asked && step == withdraw && (got.request != "" || got.made != "" || len(got.distrusted) != 2):
				t.Errorf("after withdraw: %+v", got.renewal)
			case asked && step != withdraw && got.request != test.stored.request:
				t.Errorf("the request is %q", got.request)
			case step == renew && got.made != got.next.fingerprint():
				t.Error("it is not noted which one was made for the request")
			case asked && step == promote && !got.renewed():
				t.Error("the request is forgotten")
			}
			if got.next != nil && !got.trusted.Holds(got.next.certificate) || !got.trusted.Holds(got.certificate) {
				t.Error("not all that sign, or will, are trusted")
			}
		})
	}
}
