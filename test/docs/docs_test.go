// Package docs tests what documents say of the project.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caject/caject/test/playground"
)

var (
	named = regexp.MustCompile("`(Test[A-Z]\\w+)`")
	there = regexp.MustCompile(`(?m)^func (Test[A-Z]\w+)\(`)
	// linked is a link to a file of the project, its fragment left out.
	linked = regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)
)

// read returns the texts of the project's own files with one of the suffixes, by path.
func read(t *testing.T, suffix string) map[string]string {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	if err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "bin" || strings.HasPrefix(name, ".")) && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, suffix) {
			return nil
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestDocumentsNameTestsThatThereAre: a claim that names its test can be checked.
func TestDocumentsNameTestsThatThereAre(t *testing.T) {
	all := map[string]bool{}
	for _, text := range read(t, "_test.go") {
		for _, match := range there.FindAllStringSubmatch(text, -1) {
			all[match[1]] = true
		}
	}
	for path, text := range read(t, ".md") {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			if !all[match[1]] {
				t.Errorf("%s names %s, which is not there", path, match[1])
			}
		}
	}
}

// TestLinksLeadSomewhere follows the links between the project's own files.
func TestLinksLeadSomewhere(t *testing.T) {
	for path, text := range read(t, ".md") {
		for _, match := range linked.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), match[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
