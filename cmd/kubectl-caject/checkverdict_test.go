package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// want is what a verdict has to be: its outcome, and a part of its reason.
type want struct {
	outcome outcome
	reason  string
}

func (w want) of(t *testing.T, got verdict) {
	t.Helper()
	if got.Outcome != w.outcome || !strings.Contains(got.Reason, w.reason) {
		t.Errorf("%s, %q", got.Outcome, got.Reason)
	}
	if (got.Outcome == failed || got.Outcome == warned) && !strings.HasPrefix(got.Link, docs) {
		t.Errorf("its link is %q", got.Link)
	}
	if strings.HasSuffix(got.Reason, ".") || strings.Contains(got.Reason, "\n") {
		t.Errorf("%q is not one line without a full stop", got.Reason)
	}
}

func TestAReportIsPrinted(t *testing.T) {
	found := &report{Checks: []verdict{
		{Category: "A", Check: "one", Outcome: passed, Reason: "it is"},
		{Category: "A", Check: "two", Outcome: warned, Reason: "it is slow", Link: docs + "a.md"},
		{Category: "B", Check: "three", Outcome: failed, Reason: "it is away", Link: docs + "b.md#c"},
		{Category: "B", Check: "four", Outcome: untold, Reason: "you may not get it"},
	}}
	for sentence, test := range map[string]struct {
		short bool
		want  string
	}{
		"all": {false, `A
  ✓ one: it is
  ! two: it is slow
    https://github.com/caject/caject/blob/main/docs/a.md

B
  ✗ three: it is away
    https://github.com/caject/caject/blob/main/docs/b.md#c
  – four: you may not get it

4 checks: 1 failed, 1 worth knowing, 1 could not be told, 1 ok.
`},
		"in short, what is not ok": {true, `! A: two: it is slow (https://github.com/caject/caject/blob/main/docs/a.md)
✗ B: three: it is away (https://github.com/caject/caject/blob/main/docs/b.md#c)
– B: four: you may not get it
`},
	} {
		t.Run(sentence, func(t *testing.T) {
			var out bytes.Buffer
			if err := found.print(&out, terminal{}, test.short); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhyUnread(t *testing.T) {
	for sentence, test := range map[string]struct {
		err  error
		want string
	}{
		"no right": {
			apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New(`User "a" cannot list resource "pods" in API group "" at the cluster scope`)),
			`you may not list resource "pods" in API group "" at the cluster scope`,
		},
		"another plugin refuses": {apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New("not now")), "you may not: not now"},
		"no right to a path": {
			apierrors.NewGenericServerResponse(403, "get", schema.GroupResource{}, "", `forbidden: User "a" cannot get path "/metrics"`, 0, true),
			`you may not get path "/metrics"`,
		},
		"something else": {errors.New("it\n is away"), "it is away"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := whyUnread(test.err); got != test.want {
				t.Errorf("it says %q", got)
			}
		})
	}
}

func TestSomeAreNamed(t *testing.T) {
	for want, names := range map[string][]string{"": nil, "a": {"a"}, "a, b, c": {"a", "b", "c"}, "a, b, c and 2 more": {"a", "b", "c", "d", "e"}} {
		if got := some(names); got != want {
			t.Errorf("%v is %q", names, got)
		}
	}
}

// TestLinksLeadSomewhere: each page of the documents that a check names, and its heading.
func TestLinksLeadSomewhere(t *testing.T) {
	sources, err := filepath.Glob("check*.go")
	if err != nil {
		t.Fatal(err)
	}
	page, heading, dropped := regexp.MustCompile(`"([a-z-]+\.md)(?:#([a-z-]+))?"`), regexp.MustCompile(`(?m)^#+ (.*)$`), regexp.MustCompile(`[^a-z0-9 -]`)
	links := 0
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range page.FindAllSubmatch(text, -1) {
			links++
			document, err := os.ReadFile(filepath.Join("..", "..", "docs", string(link[1])))
			if err != nil {
				t.Fatal(err)
			}
			anchors := map[string]bool{"": true}
			for _, h := range heading.FindAllSubmatch(document, -1) {
				anchors[strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(string(h[1])), ""), " ", "-")] = true
			}
			if !anchors[string(link[2])] {
				t.Errorf("%s: %s leads nowhere", source, link[0])
			}
		}
	}
	if links == 0 {
		t.Error("there are no links")
	}
}
