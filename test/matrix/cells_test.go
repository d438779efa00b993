package matrix

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/caject/caject/test/trial"
)

// Certificates are called by digits: a source holds 0, then 1, and where it is rotated once more 2. Another source held 3 and holds 4.

// expectation says which certificates each caBundle of a target holds. Those of may can be there or not, and no others.
type expectation struct{ must, may string }

// reset is what becomes of a target that was filled.
type reset struct {
	name string
	// value is put into each caBundle, in base64; nil leaves them out.
	value *string
	// recreated says that the target is deleted, and created from its manifest, without a caBundle.
	recreated bool
	// restored says that a backup of the target is put back: it holds 0 alone.
	restored bool
}

// resets are all that is tried. None of the values is a certificate: they are all the same as nothing.
var resets = []reset{
	{name: "its caBundle left out"},
	{name: "its caBundle empty", value: new(string)},
	{name: "its caBundle a line end (Cg==)", value: encoded("\n")},
	{name: "its caBundle white space", value: encoded(" \t\r\n \n")},
	{name: "its caBundle a text", value: encoded("to be replaced\n")},
	{name: "its caBundle half a PEM line", value: encoded("-----BEGIN CERTIF")},
	{name: "deleted and created anew", recreated: true},
	{name: "an old backup of it restored", restored: true},
}

func encoded(text string) *string {
	value := base64.StdEncoding.EncodeToString([]byte(text))
	return &value
}

// change is what has become of a source, or of the annotation that names it, by the time of the reset.
type change struct {
	name string
	// source is what is done to the source; nil leaves it as it is.
	source func(*group) error
	// annotate changes the target's annotation in the write of the reset; nil leaves it as it is.
	annotate func(*cell, map[string]string)
	// blank, recreated and restored are what a target holds after the reset.
	blank, recreated, restored expectation
	// unkept is what it holds after a value without a certificate was stored: without policies nobody sees what an update of a
	// webhook configuration takes away.
	unkept expectation
}

var changes = []change{
	{
		name:  "its source good",
		blank: expectation{must: "01"}, recreated: expectation{must: "01"}, restored: expectation{must: "01"}, unkept: expectation{must: "01"},
	},
	{
		name:   "its source rotated just now",
		source: (*group).rotateOnce,
		blank:  expectation{must: "012"}, recreated: expectation{must: "012"}, restored: expectation{must: "012"}, unkept: expectation{must: "012"},
	},
	{
		// What was published stays, and is as good as a source for what holds nothing.
		name:   "its source missing",
		source: (*group).removeSecret,
		blank:  expectation{must: "01"}, recreated: expectation{must: "01"}, restored: expectation{must: "0", may: "1"}, unkept: expectation{must: "01"},
	},
	{
		name:   "its source without opt-in",
		source: (*group).withdraw,
		blank:  expectation{must: "01"}, restored: expectation{must: "0", may: "1"},
	},
	{
		name:     "its annotation misspelt",
		annotate: (*cell).misspell,
		blank:    expectation{must: "01"}, restored: expectation{must: "0", may: "1"},
	},
	{
		name:     "switched to another source",
		annotate: (*cell).switchSource,
		blank:    expectation{must: "0134"}, recreated: expectation{must: "34"}, restored: expectation{must: "034", may: "1"},
		unkept: expectation{must: "34", may: "01"},
	},
}

// positions are the places of targets among those of their source: all are there when the first and a later one are reset, and
// only the last one when it is.
var positions = [...]string{"the first target", "a later target", "the last target"}

const last = len(positions) - 1

// kindNames are those of trial.Kinds.
var kindNames = [...]string{"CustomResourceDefinition", "APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}

// admitted reports whether the API server calls caject's webhook for a kind, an index of trial.Kinds.
func admitted(kind int) bool { return kind < 2 }

// groups returns those of all changes and resets: each has three targets of three kinds, so that four groups of a change and a reset
// have each kind in each position, and no source is named by one kind alone.
func (s *stage) groups() []*group {
	var all []*group
	for c := range changes {
		for r := range resets {
			for first := range trial.Kinds {
				g := &group{stage: s, change: &changes[c], reset: &resets[r], first: first, name: fmt.Sprintf("m%d-%d-%d", c, r, first)}
				for position := range positions {
					g.cells = append(g.cells, &cell{group: g, position: position, kind: (first + position) % len(trial.Kinds)})
				}
				if s.wanted(g) {
					all = append(all, g)
				}
			}
		}
	}
	return all
}

// String names a cell in one sentence.
func (c *cell) String() string {
	return fmt.Sprintf("%s, %s of its source, %s, %s, %s", kindNames[c.kind], positions[c.position], c.group.reset.name, c.group.change.name, c.group.stage)
}

// kept reports whether the update of a target is looked at before it is stored: by a policy, or by the webhook.
func (c *cell) kept() bool { return c.group.stage.policies || admitted(c.kind) }

// want returns what a cell's target holds in the end.
func (c *cell) want() expectation {
	change, reset := c.group.change, c.group.reset
	var want expectation
	switch {
	case reset.recreated:
		want = change.recreated
	case reset.restored:
		want = change.restored
	case c.kept():
		want = change.blank
	default:
		want = change.unkept
	}
	if c.group.fresh() { // the other source has one certificate only
		want.must = strings.ReplaceAll(want.must, "3", "")
	}
	return want
}

// met reports whether held, certificates by their digits, is as expected.
func (e expectation) met(held string) bool {
	for _, digit := range e.must {
		if strings.Count(held, string(digit)) != 1 {
			return false
		}
	}
	for _, digit := range held {
		if !strings.ContainsRune(e.must+e.may, digit) || strings.Count(held, string(digit)) != 1 {
			return false
		}
	}
	return true
}

func (e expectation) String() string {
	text := "[" + strings.Join(strings.Split(e.must, ""), " ") + "]"
	if e.may != "" {
		text += " and perhaps [" + strings.Join(strings.Split(e.may, ""), " ") + "]"
	}
	return text
}
