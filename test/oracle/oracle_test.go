// Package oracle plays the same scenarios to cert-manager's own cainjector and to caject, each on an API server of its
// own, and compares what they put into the caBundles byte by byte.
package oracle

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// generatedScenarios is how many are made at random, in each of the runs with and without merging; a third of them in the short form.
const generatedScenarios = 150

// run is a number of scenarios under the same arguments.
type run struct {
	name      string
	args      []string
	merging   bool
	scenarios []scenario
	// sentinelNamespace is one whose sources are in scope.
	sentinelNamespace string
}

// runs returns all scenarios of the test. In the short form those about contents are played for one kind each, in turn.
func runs(random *rand.Rand) []run {
	merging, replacing, made := contents(), contents(), generatedScenarios
	if testing.Short() {
		merging, replacing, made = inTurn(merging, random), inTurn(replacing, random), made/3
	}
	return []run{
		{"merging", nil, true, slices.Concat(merging, specials(), generated(random, made)), namespace},
		{"CAInjectorMerging=false", []string{"--feature-gates=CAInjectorMerging=false"}, false, slices.Concat(replacing, generated(random, made)), namespace},
		{"--namespace=elsewhere", []string{"--namespace=elsewhere"}, true, scope(), "elsewhere"},
		{"--ignore-namespaces=oracle", []string{"--ignore-namespaces=oracle"}, true, scope(), "elsewhere"},
		{"--enable-certificates-data-source=false", []string{"--enable-certificates-data-source=false"}, true, scope(), namespace},
	}
}

// inTurn returns of all, which are the same for each kind, kind by kind, each for one kind alone.
func inTurn(all []scenario, random *rand.Rand) []scenario {
	kinds := len(cabundle.Kinds())
	each, first := len(all)/kinds, random.IntN(kinds)
	var some []scenario
	for i, s := range all {
		if (i%each+i/each+first)%kinds == 0 {
			some = append(some, s)
		}
	}
	return some
}

// scope returns scenarios for what the command line can exclude.
func scope() []scenario {
	var all []scenario
	for _, kind := range cabundle.Kinds() {
		for _, from := range []origin{fromSecret, fromCertificate, fromAPIServer} {
			all = append(all, scenario{name: fmt.Sprintf("a %s that may be out of scope", from), kind: kind, from: from, ca: "S", held: []content{"B"}})
		}
	}
	return all
}

func TestOracle(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ORACLE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the scenarios are those of ORACLE_SEED=%d", seed)
	peer, caject := newPeerWorld(t), newCajectWorld(t)

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "run\tscenarios\tequal\tdifferent on purpose\tdifferent by mistake")
	reasons := map[string]int{}
	first := 0
	for _, run := range runs(rand.New(rand.NewPCG(seed, 0))) {
		var of struct{ peer, caject []outcome }
		var group errgroup.Group
		group.Go(func() (err error) {
			of.peer, err = peer.play(t.Context(), run.args, run.scenarios, first, run.sentinelNamespace)
			return err
		})
		group.Go(func() (err error) {
			of.caject, err = caject.play(t.Context(), run.args, run.scenarios, first, run.sentinelNamespace)
			return err
		})
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		var equal, onPurpose, mistakes int
		for i, s := range run.scenarios {
			reason, err := compare(s, of.peer[i], of.caject[i], run.merging)
			switch {
			case err != nil:
				mistakes++
				t.Errorf("%s: %s (%s): %s: %v", run.name, id(first+i), s.kind, s.name, err)
			case reason != "":
				onPurpose++
				reasons[reason]++
			default:
				equal++
			}
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\n", run.name, len(run.scenarios), equal, onPurpose, mistakes)
		first += len(run.scenarios)
	}
	for _, reason := range differences {
		if reasons[reason] == 0 && !testing.Short() {
			t.Errorf("a difference that is no more: %s", reason)
		}
	}
	fmt.Fprintln(table, "\ndifferent on purpose")
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(table, "%d\t%s\n", reasons[reason], reason)
	}
	if err := table.Flush(); err != nil {
		t.Error(err)
	}
}

// compare returns an empty reason if both did the same, the reason if caject differs on purpose and is as it should be
// then, and an error otherwise.
func compare(s scenario, peer, caject outcome, merging bool) (reason string, err error) {
	if peer.refused != caject.refused {
		return "", fmt.Errorf("the API servers differ: %q, %q", peer.refused, caject.refused)
	}
	if slices.EqualFunc(peer.bundles, caject.bundles, bytes.Equal) {
		return "", nil
	}
	want, reason := s.expected(merging)
	if reason == "" {
		return "", fmt.Errorf("the peer has %s, caject has %s", spell(peer.bundles), spell(caject.bundles))
	}
	var wanted [][]byte
	for _, c := range want {
		wanted = append(wanted, c.bytes())
	}
	if !slices.EqualFunc(wanted, caject.bundles, bytes.Equal) {
		return "", fmt.Errorf("caject has %s, where it should have %s (%s); the peer has %s", spell(caject.bundles), spell(wanted), reason, spell(peer.bundles))
	}
	return reason, nil
}

// spell returns the contents that bundles are, as far as they are made of known words.
func spell(bundles [][]byte) string {
	var all []string
	for _, bundle := range bundles {
		text := string(bundle)
		for name, certificate := range certificates {
			text = strings.ReplaceAll(text, string(certificate), name+" ")
		}
		if len(text) > 200 {
			text = text[:200] + "…"
		}
		all = append(all, strconv.Quote(text))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// TestMain builds the two programs.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "caject-oracle-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = buildPrograms(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// The programs: cert-manager's cainjector, and caject with the race detector.
var cainjectorProgram, cajectProgram string

func buildPrograms(dir string) error {
	root, err := playground.Root()
	if err != nil {
		return err
	}
	cainjectorProgram, cajectProgram = filepath.Join(dir, "cainjector"), filepath.Join(dir, "caject")
	for _, command := range []*exec.Cmd{
		exec.Command("go", "build", "-C", filepath.Join(root, "test", "oracle"), "-o", cainjectorProgram, "./cainjector"),
		exec.Command("go", "build", "-C", root, "-race", "-o", cajectProgram, "./cmd/caject"),
	} {
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", command, err, out)
		}
	}
	return nil
}

// empty starts an API server for a test.
func empty(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(t.Context(), t.TempDir())
	if w != nil {
		t.Cleanup(func() {
			if err := w.control.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newPeerWorld(t *testing.T) *world {
	t.Helper()
	w := empty(t)
	var err error
	if w.start, err = w.deployCainjector(t.Context(), cainjectorProgram); err != nil {
		t.Fatal(err)
	}
	return w
}

func newCajectWorld(t *testing.T) *world {
	t.Helper()
	w := empty(t)
	var err error
	if w.start, err = w.deployCaject(t.Context(), cajectProgram); err != nil {
		t.Fatal(err)
	}
	return w
}
