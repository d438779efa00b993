package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

// TestASourceIsReportedOnce: forty objects that name a Secret which is not there are one issue, with their names.
func TestASourceIsReportedOnce(t *testing.T) {
	t.Parallel()
	in := Input{Now: now}
	for i := range 40 {
		object := webhooks(fromSecret, a)
		object.Name = fmt.Sprintf("x%02d", i)
		in.Targets = append(in.Targets, survey.Judge(now, object, problem(cabundle.SourceNotFound)))
	}
	issues := Run(in)
	if len(issues) != 1 || len(issues[0].Targets) != 40 || issues[0].Targets[1] != "validatingwebhookconfiguration/x01" {
		t.Errorf("%+v", issues)
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	t.Parallel()
	in := Input{Now: now, Targets: []survey.Finding{
		survey.Judge(now, webhooks(annotated(cabundle.ModeAnnotation, "x"), a), holding(a, a)),
		survey.Judge(now, webhooks(map[string]string{cabundle.InjectCAFromSecretAnnotation: "x"}, a), survey.Known{}),
	}}
	var got []Code
	for _, one := range Run(in) {
		got = append(got, one.Code)
	}
	if diff := cmp.Diff([]Code{Code(cabundle.InvalidAnnotation), UnknownMode, CertificateDuplicated}, got); diff != "" {
		t.Error(diff)
	}
	if worst := Worst(Run(in)); worst != Error {
		t.Errorf("the worst is %s", worst)
	}
	if worst := Worst(nil); worst != 0 {
		t.Errorf("the worst of nothing is %s", worst)
	}
}

func TestIssuesInJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(scene{webhooks(annotated(cabundle.ModeAnnotation, "x"), a), holding(a), manifest(nil)}.issues())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"severity":"Warning","code":"UnknownMode","object":"validatingwebhookconfiguration/x",` +
		`"message":"annotation caject.io/inject-mode: \"x\" has no meaning, so certificates are merged","remedy":"it is \"merge\" or \"replace\"",` +
		`"where":"a.yaml:1","link":"https://github.com/caject/caject/blob/main/docs/audit.md#unknownmode"}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if empty, _ := json.Marshal(Run(Input{})); string(empty) != "[]" {
		t.Errorf("no issues are %s", empty)
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	forbidden := problem(cabundle.SourceForbidden)
	forbidden.Reading.Problem.Detail = "you may not read Secret ns/name"
	in := Input{Now: now, Targets: []survey.Finding{
		survey.Judge(now, webhooks(fromSecret, a), forbidden),
		survey.Judge(now, webhooks(fromSecret, a), forbidden),
		survey.Judge(now, webhooks(fromSecret, a), publishing(forbidden, a)),
		survey.Judge(now, webhooks(fromSecret, a), problem(cabundle.SourceNotFound)),
	}}
	want := []string{
		"you may not read Secret ns/name: it is judged by what caject publishes of it",
		"you may not read Secret ns/name: what it holds is not known",
	}
	if diff := cmp.Diff(want, in.Gaps()); diff != "" {
		t.Error(diff)
	}
}

func TestIgnore(t *testing.T) {
	t.Parallel()
	issues := []Issue{issue(SourceUnused, "secret/a.b/x", "", ""), issue(SourceUnused, "secret/aXb/y", "", ""), issue(WeakKey, "secret/a.b/x", "", "")}
	tests := map[string]struct {
		ignores []string
		left    []int // of issues
		refused string
	}{
		"nothing":                            {nil, []int{0, 1, 2}, ""},
		"a code":                             {[]string{"SourceUnused"}, []int{2}, ""},
		"in another case":                    {[]string{"sourceunused"}, []int{2}, ""},
		"two codes":                          {[]string{"SourceUnused", "WeakKey"}, nil, ""},
		"a code of an object":                {[]string{"SourceUnused=secret/a.b/x"}, []int{1, 2}, ""},
		"a star is any text, slashes, too":   {[]string{"SourceUnused=secret/*"}, []int{2}, ""},
		"a question mark is one character":   {[]string{"SourceUnused=secret/a?b/?"}, []int{2}, ""},
		"a dot is a dot":                     {[]string{"SourceUnused=secret/a.b/*"}, []int{1, 2}, ""},
		"the whole object counts":            {[]string{"SourceUnused=secret"}, []int{0, 1, 2}, ""},
		"what regular expressions have":      {[]string{"SourceUnused=secret/(a|b)[^]"}, []int{0, 1, 2}, ""},
		"an empty object is none":            {[]string{"SourceUnused="}, []int{0, 1, 2}, ""},
		"a code that there is not":           {[]string{"Nothing"}, nil, `there is no code "Nothing"`},
		"a code that there is not, of these": {[]string{"Nothing=*"}, nil, `there is no code "Nothing"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ignores []Ignore
			for _, text := range test.ignores {
				ignore, err := ParseIgnore(text)
				if refused := err != nil; refused != (test.refused != "") || refused && !strings.Contains(err.Error(), test.refused) {
					t.Fatalf("error %v, want %q", err, test.refused)
				}
				ignores = append(ignores, ignore)
			}
			if test.refused != "" {
				return
			}
			want := []Issue{}
			for _, number := range test.left {
				want = append(want, issues[number])
			}
			left, ignored := Split(issues, ignores)
			if diff := cmp.Diff(want, left); diff != "" || ignored != len(issues)-len(want) {
				t.Errorf("%d ignored; %s", ignored, diff)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	issues := []Issue{{Severity: Error}, {Severity: Info}, {Severity: Info}}
	for want, got := range map[string]string{
		"1 error, 0 warnings, 2 notes in 3 annotated objects; 1 ignored.": Summary(issues, 3, 1),
		"0 errors, 0 warnings, 0 notes in 1 annotated object.":            Summary(nil, 1, 0),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSeverities(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Severity{"error": Error, "Warning": Warning, "INFO": Info, "never": 0, "": 0} {
		if got, ok := ParseSeverity(text); got != want || ok != (want != 0) {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
}

// TestEachCodeHasItsHeading: links lead somewhere, and the page says how bad it is at worst.
func TestEachCodeHasItsHeading(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for line := range strings.Lines(string(text)) {
		if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok {
			headings = append(headings, heading)
		}
	}
	var want []string
	for _, code := range Codes() {
		want = append(want, string(code))
		if code.Severity() == 0 || !strings.Contains(string(text), fmt.Sprintf("\n### %s\n\n%s", code, code.Severity())) {
			t.Errorf("%s: its heading is not followed by %s", code, code.Severity())
		}
		if _, fragment, _ := strings.Cut(code.Link(), "#"); fragment != strings.ToLower(string(code)) {
			t.Errorf("%s: its link leads to %s", code, fragment)
		}
	}
	if diff := cmp.Diff(want, headings); diff != "" {
		t.Error(diff)
	}
}
