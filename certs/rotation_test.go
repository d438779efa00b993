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
		"what is in memory begins in the future":      {wrong: bad, held: ca("future", "", long, "future"), want: want{replace, "new", []string{"future", "new"}, false}},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := rotation{caLifetime: lifetime, leafLifetime: leafLifetime}
			before := ""
			if test.stored != nil {
				before = test.stored.trusted.Digest()
			}
			test.found.authority, test.found.wrong = test.stored, test.wrong
			v := view{held: test.held, others: test.others, trusted: map[string]bool{}}
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
			if got.next != nil && !got.trusted.Holds(got.next.certificate) || !got.trusted.Holds(got.certificate) {
				t.Error("not all that sign, or will, are trusted")
			}
		})
	}
}
