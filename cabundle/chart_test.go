package cabundle

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// templates returns the text of the chart's templates that evaluate rules of this package, by file name.
func templates(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "charts", "caject", "templates", "*.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d templates, %v", len(files), err)
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = string(text)
	}
	return all
}

// found returns what pattern's group matches in text, each once and sorted.
func found(pattern, text string) []string {
	var all []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// TestTheChartHasOurConstants: the API server evaluates in CEL what caject does in Go, with the same words and limits.
func TestTheChartHasOurConstants(t *testing.T) {
	chart := templates(t)
	labels := []string{"caject.io/not-ready", "caject.io/published"}
	onTargets := []string{InjectAPIServerCAAnnotation, InjectCAFromAnnotation, InjectCAFromSecretAnnotation, InjectAnnotation}
	onSecrets := []string{DistrustAnnotation, TrustAgainAnnotation, AllowDirectInjectionAnnotation, AllowInjectionAnnotation, CertificateNameAnnotation}
	all := ""
	for _, text := range chart {
		all += text
	}
	tests := map[string]struct {
		pattern, text string
		want          []string
	}{
		"labels of shards, and annotations of ours": {
			`['" ](caject\.io/[a-z0-9-]+)`, all, slices.Sorted(slices.Values(append([]string{DistrustAnnotation, TrustAgainAnnotation, InjectAnnotation, ModeAnnotation, AllowInjectionAnnotation}, labels...))),
		},
		"annotations of cert-manager's": {
			`(cert-manager\.io/[a-z-]+)`, all, slices.Sorted(slices.Values(append([]string{AllowDirectInjectionAnnotation, CertificateNameAnnotation}, onTargets[:3]...))),
		},
		"annotations that a hint looks at":     {`'((?:caject|cert-manager)\.io/[a-z-]+)'`, chart["hints.yaml"], onSecrets},
		"annotations that name a source":       {`'((?:caject|cert-manager)\.io/[a-z-]+)'`, chart["_helpers.tpl"], onTargets},
		"annotations that are warned of":       {`'((?:caject|cert-manager)\.io/[a-z-]+)'`, chart["warnings.yaml"], append([]string{ModeAnnotation}, onTargets...)},
		"annotations that are meant":           {`'((?:caject|cert-manager)\.io/[a-z-]+)'`, chart["misspelt.yaml"], onTargets},
		"the pattern of what is misspelt":      {`(?m)^(\(\?i\).*)$`, chart["_helpers.tpl"], []string{misspeltPattern}},
		"the pattern of what means true":       {`(\(\?i\)\^\(true[^']*)'`, chart["_helpers.tpl"], []string{meansTrue}},
		"the limit of caBundles in one object": {`< (\d{4,})`, chart["policy.yaml"], []string{strconv.Itoa(maxFilledBytes)}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			slices.Sort(test.want)
			if diff := cmp.Diff(test.want, found(test.pattern, test.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestThePoliciesAreOfOurKinds: each policy that fills targets has the group and the places of a kind's row.
func TestThePoliciesAreOfOurKinds(t *testing.T) {
	chart := templates(t)
	policies := chart["_cel.tpl"] + chart["policy.yaml"]
	for _, row := range rows {
		_, inItem, isList := strings.Cut(row.caBundle, "[]")
		place := "path: /" + strings.ReplaceAll(row.caBundle, ".", "/") + "\n"
		if isList {
			place = `"` + strings.ReplaceAll(inItem, ".", "/") + `"`
		}
		for what, want := range map[string]string{
			"group": "group: " + row.resource.Group + "\n", "resource": row.resource.Resource, "place": place,
		} {
			if !strings.Contains(policies, want) {
				t.Errorf("%s: the policies know nothing of the %s %s", row.kind, what, want)
			}
		}
	}
}
