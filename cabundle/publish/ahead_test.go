package publish

import (
	"fmt"
	"testing"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// unnamed returns a rig whose source no target names.
func unnamed(t *testing.T) (*replica, *fakeSource, *api) {
	t.Helper()
	r, s, b, _ := newRig(t, cabundle.Rules{})
	r.targets.summary = Summary{}
	r.ledger.Unfollow(source)
	return r, s, b
}

func TestASecretIsPublishedBeforeItIsNamed(t *testing.T) {
	r, s, b := unnamed(t)
	one, two := ca("one"), ca("two")
	s.hold(one)
	r.Hinted(source)
	if r.waiting.Len() != 1 || r.hinted.Len() > 0 || s.reads > 0 {
		t.Error("it is read before it can have been written")
	}
	r.publishAhead(t.Context(), source)
	if entry := b.entry(t, source); entry.Named() || entry.Published.CABundle != encoded(one) || s.reads != 1 {
		t.Errorf("stored: %+v, %d reads", entry, s.reads)
	}
	r.publish(t)
	if b.stored() != nil {
		t.Error("it is shown")
	}

	// It is rotated, and then named: the former CA is not lost.
	s.hold(two)
	r.publishAhead(t.Context(), source)
	if entry := b.entry(t, source); entry.Published.CABundle != encoded(one, two) || len(entry.Published.Replaces) > 0 {
		t.Errorf("stored: %+v", entry)
	}
	r.targets.summary = Summary{Total: 1}
	r.ledger.Follow(source)
	if !r.ledger.Latest(source).History.Bundle(start).Holds(cabundle.ParseExisting(one).Certificates()[0]) {
		t.Error("the ledger does not know the former CA")
	}
	r.publish(t)
	expect(t, b, "Published", one, two)
	reads := s.reads
	r.Hinted(source)
	r.publishAhead(t.Context(), source)
	if s.reads != reads {
		t.Error("one that is named is read")
	}
}

// TestNothingIsKeptOfWhatNobodyNames: hints can name any Secret, as many as somebody likes.
func TestNothingIsKeptOfWhatNobodyNames(t *testing.T) {
	r, s, b := unnamed(t)
	for sentence, change := range map[string]func(){
		"it is published ahead": func() { s.hold(ca("one")) },
		"it is not there":       func() { s.fail(cabundle.SourceNotFound) },
	} {
		change()
		r.publishAhead(t.Context(), source)
		if r.queue.Len() != 1 {
			t.Fatalf("%s: nobody looks at it", sentence)
		}
		ref, _ := r.queue.Get()
		if again := r.reconcile(t.Context(), ref); again != 0 || len(r.publications) > 0 {
			t.Errorf("%s: %d are kept, it is looked at after %s", sentence, len(r.publications), again)
		}
		r.queue.Done(ref)
	}
	if b.stored() != nil {
		t.Error("it is shown")
	}
}

func TestWhatIsNotPublishedAhead(t *testing.T) {
	tests := map[string]func(*fakeSource){
		"one that does not allow it":    func(s *fakeSource) { s.fail(cabundle.SourceNotAllowed) },
		"one that is gone":              func(s *fakeSource) { s.fail(cabundle.SourceNotFound) },
		"one that holds no certificate": func(s *fakeSource) { s.fail(cabundle.SourceWithoutCA) },
		"one that has expired":          func(s *fakeSource) { s.hold(cabundletest.CA("old", start.Add(-2*time.Hour), start.Add(-time.Hour))) },
		"one that is too large": func(s *fakeSource) {
			s.hold(ca("1"), ca("2"), ca("3"), ca("4"), ca("5"), ca("6"), ca("7"), ca("8"), ca("9"), ca("0"))
		},
		"one that was refused by somebody": func(s *fakeSource) { s.fail(cabundle.SourceForbidden) },
	}
	for sentence, change := range tests {
		for _, before := range []bool{false, true} {
			t.Run(sentence, func(t *testing.T) {
				r, s, b := unnamed(t)
				if before {
					s.hold(ca("one"))
					r.publishAhead(t.Context(), source)
				}
				change(s)
				r.publishAhead(t.Context(), source)
				if entry := b.entry(t, source); entry.Stored() {
					t.Errorf("stored: %+v", entry)
				}
			})
		}
	}
}

func TestAnOutageSaysNothingAboutASource(t *testing.T) {
	r, s, b := unnamed(t)
	s.hold(ca("one"))
	r.publishAhead(t.Context(), source)
	s.fail(cabundle.SourceUnavailable)
	r.publishAhead(t.Context(), source)
	if !b.entry(t, source).Stored() {
		t.Error("it is removed")
	}
}

func TestACertificateIsNotPublishedAheadUnlessItWasNamedBefore(t *testing.T) {
	certificate := cabundle.Reference{Kind: cabundle.Certificate, Namespace: "ns", Name: "name"}
	r, s, b := unnamed(t)
	s.hold(ca("one"))
	if r.Hinted(certificate); r.waiting.Len() > 0 {
		t.Error("one that nobody has named is read")
	}
	stored := b.entry(t, certificate)
	wanted := b.entry(t, source)
	wanted.History = wanted.History.Observe(start, s.reading)
	wanted.Published = cabundle.Published{}.Next(s.reading.Bundle, true)
	if _, err := r.store.PutAhead(t.Context(), certificate, stored, wanted); err != nil {
		t.Fatal(err)
	}
	s.hold(ca("two"))
	r.Hinted(certificate)
	r.publishAhead(t.Context(), certificate)
	if got := b.entry(t, certificate).Published.Bundle().Certificates(); len(got) != 2 {
		t.Errorf("of one that was named it knows %d certificates", len(got))
	}
}

func TestReadsOfWhatNobodyNamesAreBounded(t *testing.T) {
	r, s, _ := unnamed(t)
	s.fail(cabundle.SourceNotFound)
	waiting := 0
	for range 1000 {
		if r.publishAhead(t.Context(), source) > 0 {
			waiting++
		}
	}
	if s.reads > aheadBurst || waiting < 900 {
		t.Errorf("%d reads at once, %d wait", s.reads, waiting)
	}
	for n := range 10_000 {
		r.Hinted(cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: fmt.Sprint(n)})
	}
	if n := r.waiting.Len(); n > maxHinted {
		t.Errorf("%d wait", n)
	}
}

func TestWhatHasExpiredIsNotKept(t *testing.T) {
	r, s, b, clk := newRig(t, cabundle.Rules{})
	r.targets.summary = Summary{}
	s.hold(cabundletest.CA("short", start.Add(-time.Hour), start.Add(time.Minute)))
	r.publishAhead(t.Context(), source)
	go func() { _ = r.expireAhead(t.Context()) }()
	for b.entry(t, source).Stored() {
		clk.Step(time.Minute)
		time.Sleep(time.Millisecond)
	}
}
