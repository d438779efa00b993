package main

import (
	"fmt"
	"io"
	"strings"
)

// outcome is what came of one check.
type outcome string

// The outcomes.
const (
	passed outcome = "ok"
	warned outcome = "warning" // it works, and something is worth knowing
	failed outcome = "failed"
	untold outcome = "unknown" // it could not be told, mostly for want of rights
)

// docs is where the documents are.
const docs = "https://github.com/caject/caject/blob/main/docs/"

// verdict is what is said of one check.
type verdict struct {
	Category string  `json:"category"`
	Check    string  `json:"check"`
	Outcome  outcome `json:"outcome"`
	// Reason is one line, without a full stop.
	Reason string `json:"reason"`
	// Link is where to read on; empty if all is well.
	Link string `json:"link,omitempty"`
}

func ok(check, format string, args ...any) verdict {
	return verdict{Check: check, Outcome: passed, Reason: fmt.Sprintf(format, args...)}
}

// warn says what is worth knowing; page is one of the documents, with an anchor.
func warn(check, page, format string, args ...any) verdict {
	return verdict{Check: check, Outcome: warned, Reason: fmt.Sprintf(format, args...), Link: docs + page}
}

func fail(check, page, format string, args ...any) verdict {
	return verdict{Check: check, Outcome: failed, Reason: fmt.Sprintf(format, args...), Link: docs + page}
}

func unknown(check, format string, args ...any) verdict {
	return verdict{Check: check, Outcome: untold, Reason: fmt.Sprintf(format, args...)}
}

// unread says that something could not be looked at.
func unread(check string, err error) verdict { return unknown(check, "%s", whyUnread(err)) }

// whyUnread says in one line why something could not be looked at; of the caller's rights, what they lack.
func whyUnread(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if _, denied, found := strings.Cut(text, "forbidden: "); found {
		if _, cannot, found := strings.Cut(denied, " cannot "); found {
			return "you may not " + cannot
		}
		return "you may not: " + denied
	}
	return text
}

// report is all that was checked, in order.
type report struct {
	Checks []verdict `json:"checks"`
}

// count returns how many checks came out so.
func (r *report) count(which outcome) int {
	n := 0
	for i := range r.Checks {
		if r.Checks[i].Outcome == which {
			n++
		}
	}
	return n
}

// marks are what stands before a line.
var marks = map[outcome]struct{ mark, colour string }{
	passed: {"✓", green}, warned: {"!", yellow}, failed: {"✗", red}, untold: {"–", plain},
}

// print writes all checks by category; with short, a line for each that is not ok.
func (r *report) print(out io.Writer, t terminal, short bool) error {
	var text strings.Builder
	category := ""
	for i := range r.Checks {
		v := &r.Checks[i]
		mark := t.paint(marks[v.Outcome].colour, marks[v.Outcome].mark)
		if short {
			if v.Outcome != passed {
				fmt.Fprintf(&text, "%s %s: %s: %s%s\n", mark, v.Category, v.Check, v.Reason, inBrackets(v.Link))
			}
			continue
		}
		if v.Category != category {
			if category != "" {
				text.WriteString("\n")
			}
			category = v.Category
			text.WriteString(category + "\n")
		}
		fmt.Fprintf(&text, "  %s %s: %s\n", mark, v.Check, v.Reason)
		if v.Link != "" {
			fmt.Fprintf(&text, "    %s\n", v.Link)
		}
	}
	if !short {
		text.WriteString("\n" + r.summary() + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// summary says in one line what came of all.
func (r *report) summary() string {
	var parts []string
	for _, part := range []struct {
		outcome outcome
		text    string
	}{{failed, "failed"}, {warned, "worth knowing"}, {untold, "could not be told"}, {passed, "ok"}} {
		if n := r.count(part.outcome); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, part.text))
		}
	}
	return fmt.Sprintf("%d checks: %s.", len(r.Checks), strings.Join(parts, ", "))
}

func inBrackets(link string) string {
	if link == "" {
		return ""
	}
	return " (" + link + ")"
}

// some names the first few of names, and how many more there are.
func some(names []string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
