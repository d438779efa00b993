package cabundle

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle/cabundletest"
)

// bundleOf returns the certificates of CAs in PEM.
func bundleOf(cas ...[]byte) Bundle { return ParseExisting(concat(cas...)) }

// read is a reading of a source that holds cas.
func read(version int64, cas ...[]byte) Reading {
	return Reading{Bundle: bundleOf(cas...), Version: version}
}

func fail(version int64, reason Reason) Reading {
	return Reading{Problem: &Problem{Reason: reason}, Version: version}
}

func fingerprints(cas ...[]byte) []string {
	var all []string
	for _, certificate := range bundleOf(cas...).certificates {
		all = append(all, Fingerprint(certificate))
	}
	return all
}

// distrust returns h after a reading that distrusts certificates.
func distrust(h History, fingerprints []string) History {
	return h.Observe(now, Reading{Problem: &Problem{Reason: SourceNotFound}, Distrusted: fingerprints})
}

// sameCertificates has cmp compare certificates by what they are.
var sameCertificates = cmp.Comparer(func(a, b *x509.Certificate) bool {
	return a == b || a != nil && b != nil && a.Equal(b)
})

// names returns the common names of the certificates of b.
func names(b Bundle) string {
	var all []string
	for _, certificate := range b.certificates {
		all = append(all, certificate.Subject.CommonName)
	}
	return strings.Join(all, " ")
}

func TestHistoryFollowsASource(t *testing.T) {
	a, b, c, expired := ca("a"), ca("b"), ca("c"), expiredCA("expired")
	distrusting := func(r Reading, cas ...[]byte) Reading { r.Distrusted = fingerprints(cas...); return r }
	trusting := func(r Reading, cas ...[]byte) Reading { r.TrustedAgain = fingerprints(cas...); return r }
	retire := Rules{RetireAfter: time.Minute}
	tests := map[string]struct {
		rules    Rules
		readings []Reading // a minute apart
		want     string    // what is published
		current  string
		verdicts []string
	}{
		"nothing was read":           {},
		"the first reading":          {readings: []Reading{read(3, a)}, want: "a", current: "a"},
		"rotated: the old one stays": {readings: []Reading{read(3, a), read(4, b)}, want: "a b", current: "b"},
		"rotated twice":              {readings: []Reading{read(3, a), read(4, b), read(9, c)}, want: "a b c", current: "c"},
		"rolled back: the order is that of the first sight": {readings: []Reading{read(3, a), read(4, b), read(5, a)}, want: "a b", current: "a"},
		"two at once keep their places":                     {readings: []Reading{read(3, b, a), read(4, c, a)}, want: "b a c", current: "a c"},
		"without versions":                                  {readings: []Reading{read(0, a), read(0, b)}, want: "a b", current: "b"},
		"versions that go back, as in a restored cluster":   {readings: []Reading{read(9, a), read(4, b)}, want: "a b", current: "b"},
		"not found: what was there stays":                   {readings: []Reading{read(3, a), fail(0, SourceNotFound)}, want: "a", current: "a"},
		"invalid: what was there stays":                     {readings: []Reading{read(3, a), fail(4, SourceInvalid)}, want: "a", current: "a"},
		"all expired: what was there stays":                 {readings: []Reading{read(3, a), read(4, expired)}, want: "a", current: "expired"},
		"an expired one beside a good one is left out":      {readings: []Reading{read(3, expired, a)}, want: "a", current: "expired a"},
		"opt-in withdrawn: nothing is published":            {readings: []Reading{read(3, a), read(4, b), fail(5, SourceNotAllowed)}},
		"opt-in given again: what it has now":               {readings: []Reading{read(3, a), read(4, b), fail(5, SourceNotAllowed), read(6, b)}, want: "b", current: "b"},
		"out of scope: nothing is published":                {readings: []Reading{read(3, a), fail(0, SourceOutOfScope)}},
		"withdrawn before it was ever read":                 {readings: []Reading{fail(3, SourceNotAllowed), read(4, a)}, want: "a", current: "a"},

		"retired a while after it has left the source": {
			rules: retire, readings: []Reading{read(3, a), read(4, b), read(4, b)}, want: "b", current: "b", verdicts: fingerprints(a),
		},
		"not retired before":                     {rules: retire, readings: []Reading{read(3, a), read(4, b)}, want: "a b", current: "b"},
		"not retired while the source is broken": {rules: retire, readings: []Reading{read(3, a), read(4, b), fail(5, SourceInvalid)}, want: "a b", current: "b"},
		"not retired while the source has expired": {
			rules: retire, readings: []Reading{read(3, a), read(4, expired), read(4, expired)}, want: "a", current: "expired",
		},
		"retired, then back in the source": {
			rules: retire, readings: []Reading{read(3, a), read(4, b), read(4, b), read(5, a)}, want: "a b", current: "a",
		},

		"distrusted while the source holds it beside another": {
			readings: []Reading{distrusting(read(3, a, b), a)}, want: "b", current: "a b", verdicts: fingerprints(a),
		},
		"distrusted after it has left": {
			readings: []Reading{read(3, a), distrusting(read(4, b), a)}, want: "b", current: "b", verdicts: fingerprints(a),
		},
		"distrusted, the only one: nothing is published": {
			readings: []Reading{distrusting(read(3, a), a)}, current: "a", verdicts: fingerprints(a),
		},
		"distrust outlives the annotation": {
			readings: []Reading{distrusting(read(3, a), a), read(4, a, b), read(5, a)}, current: "a", want: "b", verdicts: fingerprints(a),
		},
		"what the source never had cannot be distrusted": {readings: []Reading{distrusting(read(3, a), b)}, want: "a", current: "a"},
		"trusted again": {
			readings: []Reading{distrusting(read(3, a, b), a), trusting(read(4, a, b), a)}, want: "a b", current: "a b",
		},
		"distrusted and trusted again at once: distrust wins": {
			readings: []Reading{trusting(distrusting(read(3, a, b), a), a)}, want: "b", current: "a b", verdicts: fingerprints(a),
		},
		"distrusted by the administrator, whatever the source says": {
			rules:    Rules{Distrusted: fingerprints(a)},
			readings: []Reading{trusting(read(3, a, b), a)}, want: "b", current: "a b", verdicts: fingerprints(a),
		},
		"distrusted although the source cannot be used": {
			readings: []Reading{read(3, a, b), distrusting(fail(4, SourceInvalid), a)}, want: "b", current: "a b", verdicts: fingerprints(a),
		},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			at, history := now, History{}
			for _, reading := range test.readings {
				before := history
				history = test.rules.Observe(at, history, reading)
				if again := test.rules.Observe(at, history, reading); again.Adds(at, history) {
					t.Errorf("the same reading again adds to it: %+v, then %+v", history, again)
				}
				if merged := history.Merge(before); !cmp.Equal(merged, history.Merge(History{}), sameCertificates) {
					t.Errorf("a reading took away what was known: %s", cmp.Diff(history, merged, sameCertificates))
				}
				at = at.Add(time.Minute)
			}
			if got := names(history.Bundle(at)); got != test.want {
				t.Errorf("published: %q, want %q", got, test.want)
			}
			if got := names(history.bundle(func(k entry) bool { return k.Last == history.Observed })); got != test.current {
				t.Errorf("current: %q, want %q", got, test.current)
			}
			slices.Sort(test.verdicts)
			if diff := cmp.Diff(test.verdicts, history.Verdicts()); diff != "" {
				t.Errorf("unwanted: %s", diff)
			}
		})
	}
}

// randomHistory is one that something has seen of the CAs.
func randomHistory(random *rand.Rand, cas [][]byte) History {
	rules := Rules{RetireAfter: 2 * time.Minute}
	at, history := now, History{}
	for range random.IntN(6) {
		reading := Reading{Version: random.Int64N(12)}
		switch random.IntN(8) {
		case 0:
			reading.Problem = &Problem{Reason: SourceNotAllowed}
		case 1:
			reading.Problem = &Problem{Reason: SourceNotFound}
		default:
			for range 1 + random.IntN(2) {
				reading.Bundle.certificates = append(reading.Bundle.certificates, bundleOf(cas[random.IntN(len(cas))]).certificates...)
			}
		}
		if random.IntN(4) == 0 {
			reading.Distrusted = fingerprints(cas[random.IntN(len(cas))])
		}
		if random.IntN(6) == 0 {
			reading.TrustedAgain = fingerprints(cas[random.IntN(len(cas))])
		}
		history = rules.Observe(at, history, reading)
		at = at.Add(time.Duration(random.IntN(180)) * time.Second)
	}
	return history
}

func TestHistoriesMerge(t *testing.T) {
	var cas [][]byte
	for n := range 5 {
		cas = append(cas, ca(fmt.Sprint(n)))
	}
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	same := func(law string, one, other History) {
		t.Helper()
		if diff := cmp.Diff(one, other, sameCertificates); diff != "" {
			t.Fatalf("not %s: %s", law, diff)
		}
	}
	for range 400 {
		a, b, c := randomHistory(random, cas), randomHistory(random, cas), randomHistory(random, cas)
		same("idempotent", a.Merge(History{}), a.Merge(a))
		same("commutative", a.Merge(b), b.Merge(a))
		same("associative", a.Merge(b).Merge(c), a.Merge(b.Merge(c)))
		at := now.Add(30 * time.Minute)
		merged := a.Merge(b).Date(at)
		same("absorbing", merged, merged.Merge(a))
		if merged.Adds(at, merged) {
			t.Fatalf("it adds to itself: %+v", merged)
		}
	}
}

func TestWhatIsToBeStored(t *testing.T) {
	a, b := ca("a"), ca("b")
	soon := cabundletest.CA("soon", now.Add(-time.Hour), now.Add(time.Minute))
	at := now
	observe := func(readings ...Reading) History {
		history := History{}
		for _, reading := range readings {
			history = history.Observe(at, reading)
		}
		return history
	}
	tests := map[string]struct {
		known, stored History
		want          bool
	}{
		"the same":                         {observe(read(3, a)), observe(read(3, a)), false},
		"the same, seen at other versions": {observe(read(9, a)), observe(read(3, a)), false},
		"a certificate more":               {observe(read(3, a, b)), observe(read(3, a)), true},
		"a rotation":                       {observe(read(3, a), read(4, b)), observe(read(3, a)), true},
		"a rotation that others know of":   {observe(read(3, a)), observe(read(3, a), read(4, b)), false},
		"opt-in withdrawn":                 {observe(read(3, a), fail(4, SourceNotAllowed)), observe(read(3, a)), true},
		"opt-in given again":               {observe(read(3, a), fail(4, SourceNotAllowed), read(5, a)), observe(read(3, a), fail(4, SourceNotAllowed)), true},
		"retired":                          {observe(read(3, a), read(4, b)).Retire(at.Add(30*time.Minute), time.Minute), observe(read(3, a), read(4, b)), true},
		"distrusted":                       {distrust(observe(read(3, a)), fingerprints(a)), observe(read(3, a)), true},
		"one that soon expires, and is gone": {
			observe(read(3, soon), read(4, a)), observe(read(4, a)), false,
		},
		"one that soon expires, and is there": {observe(read(4, a, soon)), observe(read(4, a)), true},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			if got := test.known.Merge(test.stored).Adds(at, test.stored); got != test.want {
				t.Errorf("to be stored: %v", got)
			}
		})
	}
}

func TestAReplicaWhoseClockIsBehindLetsExpiredCertificatesGo(t *testing.T) {
	a := ca("a")
	short := cabundletest.CA("short", now.Add(-10*time.Hour), now.Add(time.Minute))
	stored := History{}.Observe(now, read(3, short)).Observe(now, read(4, a))
	behind := stored

	ahead := now.Add(2 * time.Minute)
	trimmed, dropped := stored.Trim(ahead, MaxSourceBytes)
	if dropped > 0 || !trimmed.Adds(ahead, stored) || names(trimmed.Bundle(ahead)) != "a" {
		t.Fatalf("the one that is ahead keeps %+v", trimmed)
	}
	merged := behind.Merge(trimmed)
	if merged.Adds(now, trimmed) {
		t.Error("the one that is behind stores it again")
	}
	published := map[string]bool{fingerprints(a)[0]: true}
	if got := names(merged.BundleAfter(now, published)); got != "a" {
		t.Errorf("the one that is behind publishes %q", got)
	}
	if got := names(merged.BundleAfter(now, map[string]bool{})); got != "a" {
		t.Errorf("the one that is behind publishes anew %q", got)
	}
}

func TestTrim(t *testing.T) {
	history, at := History{}, now
	for n := range 400 {
		history = history.Observe(at, read(int64(n+1), ca(fmt.Sprintf("%0200d", n))))
	}
	trimmed, dropped := history.Trim(at, MaxSourceBytes)
	bundle := trimmed.Bundle(at)
	if size := len(bundle.PEM()); size > MaxSourceBytes || size < MaxSourceBytes*9/10 || dropped+len(bundle.certificates) != 400 {
		t.Errorf("%d bytes in %d certificates, %d dropped", size, len(bundle.certificates), dropped)
	}
	if newest := bundle.certificates[len(bundle.certificates)-1].Subject.CommonName; !strings.HasSuffix(newest, "399") {
		t.Errorf("the newest is %s", newest)
	}
	if again, more := trimmed.Merge(history).Trim(at, MaxSourceBytes); more != dropped || again.Adds(at, trimmed) {
		t.Errorf("a replica that remembers all drops %d, and would store %d certificates", more, len(again.Known))
	}

	retired := history.Retire(at.Add(30*time.Minute), time.Minute)
	trimmed, dropped = retired.Trim(at, MaxSourceBytes)
	if dropped > 0 || len(trimmed.Known) != maxTombstones+1 || len(trimmed.Verdicts()) != maxTombstones {
		t.Errorf("%d dropped, %d known, %d tombstones", dropped, len(trimmed.Known), len(trimmed.Verdicts()))
	}
}

func TestTrimKeepsTheWholeSource(t *testing.T) {
	var source, others []byte
	for n := 0; len(source) < MaxSourceBytes*3/4; n++ {
		source, others = append(source, ca(fmt.Sprint(n))...), append(others, ca(fmt.Sprint("other", n))...)
	}
	history := History{}.Observe(now, read(1, others)).Observe(now, read(2, source))
	trimmed, dropped := history.Trim(now, MaxSourceBytes)
	bundle, wanted := trimmed.Bundle(now), bundleOf(source)
	if dropped == 0 || len(bundle.PEM()) > MaxSourceBytes || slices.ContainsFunc(wanted.certificates, func(c *x509.Certificate) bool { return !bundle.Holds(c) }) {
		t.Errorf("%d dropped, %d bytes published, and not all of the source is", dropped, len(bundle.PEM()))
	}
}

func TestReview(t *testing.T) {
	short := cabundletest.CA("short", now.Add(-time.Hour), now.Add(10*time.Minute))
	history := History{}.Observe(now, read(1, short)).Observe(now, read(2, ca("a")))
	for sentence, test := range map[string]struct {
		rules Rules
		at    time.Time
		want  time.Time
	}{
		"the first expiry":         {Rules{}, now, now.Add(10 * time.Minute)},
		"a retirement before that": {Rules{RetireAfter: time.Minute}, now, now.Add(time.Minute)},
		"the next expiry":          {Rules{}, now.Add(30 * time.Minute), bundleOf(ca("a")).certificates[0].NotAfter},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := test.rules.Review(test.at, history); got.Sub(test.want).Abs() > time.Second {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	if got := (Rules{}).Review(now, History{}); !got.IsZero() {
		t.Errorf("of nothing: %s", got)
	}
}
