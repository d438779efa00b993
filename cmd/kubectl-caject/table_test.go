package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

func findings() []survey.Finding {
	year, past, created := time.Now().Add(365*24*time.Hour+time.Minute), time.Now().Add(-time.Hour), time.Now().Add(-3*time.Hour)
	return []survey.Finding{
		{Kind: cabundle.MutatingWebhookConfiguration, Name: "good", Source: "secret/demo/ca", State: survey.Injected, Expires: &year, Created: &created},
		{Kind: cabundle.MutatingWebhookConfiguration, Name: "old", Source: "secret/demo/ca", State: survey.Injected, Expires: &past, Created: &created},
		{
			Kind: cabundle.CustomResourceDefinition, Name: "widgets.example.com", Source: "secret/demo/shut", State: survey.Refused,
			Reason: cabundle.SourceNotAllowed, Message: "Secret demo/shut does not allow it", Remedy: "its owner can", Created: &created,
		},
		{Kind: cabundle.APIService, Name: "v1.example.com", State: survey.Absent, Message: "it does not exist"},
		{Kind: cabundle.CustomResourceDefinition, Name: "plain.example.com", Source: "secret/demo/ca", State: survey.NotInjectable, Message: "no webhook", Created: &created},
	}
}

func TestTheTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := printTable(&out, terminal{}, findings(), false); err != nil {
		t.Fatal(err)
	}
	want := `KIND                           NAME                  SOURCE             STATE           EXPIRES   AGE
MutatingWebhookConfiguration   good                  secret/demo/ca     Injected        365d      3h
MutatingWebhookConfiguration   old                   secret/demo/ca     Injected        expired   3h
CustomResourceDefinition       widgets.example.com   secret/demo/shut   Refused         <none>    3h
APIService                     v1.example.com        <none>             Absent          <none>    <none>
CustomResourceDefinition       plain.example.com     secret/demo/ca     NotInjectable   <none>    3h
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestColumnsStayInLineInColour(t *testing.T) {
	t.Parallel()
	var plainOut, coloured bytes.Buffer
	for out, t1 := range map[*bytes.Buffer]terminal{&plainOut: {}, &coloured: {is: true, colour: true, width: 200}} {
		if err := printTable(out, t1, findings(), true); err != nil {
			t.Fatal(err)
		}
	}
	var without strings.Builder
	text := coloured.String()
	for {
		before, after, found := strings.Cut(text, "\x1b[")
		without.WriteString(before)
		if !found {
			break
		}
		_, text, _ = strings.Cut(after, "m")
	}
	// Escape codes take room in a column; the others have to stand below one another all the same.
	column := func(line string) int { return strings.Index(line, "3h") }
	lines := strings.Split(without.String(), "\n")
	for i, line := range lines[1:4] {
		if column(line) != column(lines[1]) {
			t.Errorf("line %d: %q is not below %q", i, line, lines[1])
		}
	}
	if coloured.String() == plainOut.String() {
		t.Error("there is no colour")
	}
}

func TestWhatIsSaidOfProblems(t *testing.T) {
	t.Parallel()
	want := `
CustomResourceDefinition widgets.example.com: SourceNotAllowed
  Secret demo/shut does not allow it
  way out: its owner can

APIService v1.example.com: Absent
  it does not exist

2 of 5 are not right.
`
	if diff := cmp.Diff(want, problems(terminal{}, findings())); diff != "" {
		t.Error(diff)
	}
	if got := problems(terminal{}, findings()[:2]); got != "" {
		t.Errorf("of what is right it says %q", got)
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	t.Parallel()
	text := "Secret demo/shut does not allow it; its owner can, with the annotation cert-manager.io/allow-direct-injection"
	for _, width := range []int{40, 60, 200} {
		narrow := terminal{is: true, width: width}
		for line := range strings.Lines(narrow.wrap("  ", text)) {
			if words := strings.Fields(line); len(strings.TrimRight(line, "\n")) > width && len(words) > 1 {
				t.Errorf("%d columns: %q", width, line)
			}
		}
		if got := strings.Join(strings.Fields(narrow.wrap("  ", text)), " "); got != text {
			t.Errorf("%d columns: %q", width, got)
		}
		if got := narrow.cut(text); len(got) > max(width, 0) && width < len(text) {
			t.Errorf("%d columns: %q", width, got)
		}
	}
	if got := (terminal{}).wrap("  ", text); got != "  "+text+"\n" {
		t.Errorf("no terminal: %q", got)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	if got := explain(t.Context(), fmt.Errorf("a\n\tb")); got != "a b" {
		t.Errorf("it is %q, not one line", got)
	}
}
