package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAReleaseIsRefused(t *testing.T) {
	folder := t.TempDir()
	write := func(version, app, repository, image string) {
		for name, content := range map[string]string{
			"Chart.yaml":  "name: caject\nversion: " + version + "\nappVersion: " + app + "\nannotations:\n  image: " + defaultRepository + ":" + image + "\n",
			"values.yaml": "image:\n  repository: " + repository + "\n",
		} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for sentence, test := range map[string]struct {
		tag                      string
		snapshot                 bool
		version, app, repository string
		want                     string // in the error; empty if there is none
		image                    string // the tag in the annotation; empty if it is app
	}{
		"as it should be":                  {"v1.2.3", false, "1.2.3", "v1.2.3", defaultRepository, "", ""},
		"a pre-release":                    {"v1.2.3-rc.1", false, "1.2.3-rc.1", "v1.2.3-rc.1", defaultRepository, "", ""},
		"a snapshot":                       {"v1.2.3-snapshot.gabc", true, "1.2.2", "v1.2.2", defaultRepository, "", ""},
		"no v before it":                   {"1.2.3", false, "1.2.3", "1.2.3", defaultRepository, "not like v1.2.3", ""},
		"no version at all":                {"", true, "1.2.3", "v1.2.3", defaultRepository, "not like v1.2.3", ""},
		"what git describe says":           {"v1.2.3+dirty", true, "1.2.3", "v1.2.3", defaultRepository, "not like v1.2.3", ""},
		"the chart is of another release":  {"v1.2.4", false, "1.2.3", "v1.2.4", defaultRepository, "version: 1.2.3, not 1.2.4", ""},
		"the chart asks for another image": {"v1.2.3", false, "1.2.3", "1.2.3", defaultRepository, "appVersion: 1.2.3, not v1.2.3", ""},
		"the image is pushed elsewhere":    {"v1.2.3", false, "1.2.3", "v1.2.3", "example.com/caject", "not in " + defaultRepository, ""},
		"the annotation names another":     {"v1.2.3", false, "1.2.3", "v1.2.3", defaultRepository, "artifacthub.io/images of Chart.yaml does not say", "v1.2.2"},
	} {
		image := test.image
		if image == "" {
			image = test.app
		}
		write(test.version, test.app, test.repository, image)
		switch err := (chart{folder: folder}).check(test.tag, test.snapshot); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", sentence, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

// TestTheRepositoryIsReadyForARelease: the chart in it and the image that it asks for have the same version.
func TestTheRepositoryIsReadyForARelease(t *testing.T) {
	c := testChart(t)
	description, err := os.ReadFile(filepath.Join(c.folder, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.check(field(description, "appVersion"), false); err != nil {
		t.Error(err)
	}
}
