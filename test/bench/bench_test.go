package bench

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

// TestAQuickBench does all that make bench does, with small numbers. It asks of no figure how large it is.
func TestAQuickBench(t *testing.T) {
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	o := Quick()
	o.Caject, o.Cainjector = filepath.Join(t.TempDir(), "caject"), filepath.Join(t.TempDir(), "cainjector")
	if err := playground.BuildCaject(t.Context(), root, o.Caject); err != nil {
		t.Fatal(err)
	}
	if err := playground.BuildCainjector(t.Context(), root, o.Cainjector); err != nil {
		t.Fatal(err)
	}
	var progress, table strings.Builder
	report, err := Run(t.Context(), o, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", progress.String(), table.String())
	expectRows(t, report, o)
	for _, kind := range kindNames {
		row := report.Row(Key{"One " + kind + " created", 0, "annotated: filled in the answer", Percent})
		if s, _ := row.Summary(Caject); s.P25 != 100 {
			t.Errorf("a %s of a source that is known is not always filled in the answer by caject: %v", kind, row.Values[Caject])
		}
		if s, ok := row.Summary(Cainjector); !ok || s.Most != 0 {
			t.Errorf("a %s is said to be filled in the answer by cainjector: %v", kind, row.Values[Cainjector])
		}
	}
	if s, _ := report.Row(Key{startGroup, 0, startRead, Megabytes}).Summary(Caject); s.Median == 0 {
		t.Error("caject has read nothing in its start")
	}
}

// expectRows fails the test if a group of rows is missing, or a row has nothing for one of both injectors.
func expectRows(t *testing.T, report *Report, o Options) {
	t.Helper()
	groups := map[string]bool{}
	for _, row := range report.Rows() {
		groups[row.Heading()] = true
		wanted := map[Subject]bool{Caject: true, Cainjector: row.Group != policyGroup}
		if row.Group == policyGroup {
			wanted[None] = !strings.HasSuffix(row.What, policyMore)
		}
		for subject, want := range wanted {
			if _, got := row.Summary(subject); want && !got {
				t.Errorf("%s, %s: there is nothing for %s", row.Heading(), row.What, subject)
			}
		}
	}
	// Creates of four kinds, and the first of their sources; other writes, rotations of 40, and updates of large CRDs.
	if want := len(o.Secrets) + 2*len(o.Sources) + len(o.Published) + len(kindNames) + 4; len(groups) != want {
		t.Errorf("there are %d groups of rows, not %d", len(groups), want)
	}
}
