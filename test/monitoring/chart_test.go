package monitoring

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const root = "../.."

// rendered is what helm has rendered, by template and values.
var rendered = map[string][]byte{}

// render has helm render one template of the chart with values (helm's --set) into object, strictly.
func render(t *testing.T, template string, object any, values ...string) {
	t.Helper()
	args := []string{"template", "caject", filepath.Join(root, "charts", "caject"), "--namespace", "caject", "--show-only", "templates/" + template}
	text, known := rendered[template+strings.Join(values, ",")]
	if !known {
		var err error
		if text, err = helm(args, values); err != nil {
			t.Fatalf("helm: %v\n%s", err, text)
		}
		rendered[template+strings.Join(values, ",")] = text
	}
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// helm returns what helm prints, errors too.
func helm(args, values []string) ([]byte, error) {
	if len(values) > 0 {
		args = append(args, "--set", strings.Join(values, ","))
	}
	return exec.Command(filepath.Join(root, "bin", "helm"), args...).CombinedOutput()
}
