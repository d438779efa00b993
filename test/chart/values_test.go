package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// chartFile reads a file of the chart.
func chartFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), "charts", "caject", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// valuePaths returns the path of each value in values.yaml, such as image.tag, and whether it holds others.
func valuePaths(t *testing.T) map[string]bool {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal(chartFile(t, "values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	var walk func(prefix string, values map[string]any)
	walk = func(prefix string, values map[string]any) {
		for key, value := range values {
			inner, _ := value.(map[string]any)
			paths[prefix+key] = len(inner) > 0
			walk(prefix+key+".", inner)
		}
	}
	walk("", values)
	return paths
}

// free are the values that are as in a pod: the API server knows what may be in them.
var free = regexp.MustCompile(`^(resources|podSecurityContext|securityContext|nodeSelector|metrics\.dashboard\.labels)(\.|$)`)

// TestEachValueIsExplained: values.yaml says what each value is for, and the schema what it may be.
func TestEachValueIsExplained(t *testing.T) {
	t.Parallel()
	explained, path := map[string]bool{}, []string{}
	line, comment := regexp.MustCompile(`^( *)([A-Za-z./-]+):`), false
	for text := range strings.Lines(string(chartFile(t, "values.yaml"))) {
		if found := line.FindStringSubmatch(text); found != nil && len(found[1])/2 <= len(path) {
			path = append(path[:len(found[1])/2], found[2])
			explained[strings.Join(path, ".")] = comment
		}
		trimmed := strings.TrimSpace(text)
		comment = strings.HasPrefix(trimmed, "# -- ") || comment && strings.HasPrefix(trimmed, "# ")
	}
	type property struct {
		Description string
		Properties  map[string]property
	}
	var schema property
	if err := json.Unmarshal(chartFile(t, "values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	for path := range valuePaths(t) {
		if !explained[path] && !strings.Contains(path, "kubernetes.io/") && !strings.HasPrefix(path, "metrics.dashboard.labels.") {
			t.Errorf("values.yaml does not say what %s is for, with # --", path)
		}
		if free.MatchString(path) && strings.Contains(path, ".") {
			continue
		}
		found := schema
		for _, key := range strings.Split(path, ".") {
			found = found.Properties[key]
		}
		if found.Description == "" {
			t.Errorf("the schema does not describe %s", path)
		}
	}
}

// refusal is what helm says of values, each path with its value. It is an error if helm takes them.
func refusal(t *testing.T, values map[string]any) string {
	t.Helper()
	tree := map[string]any{}
	for path, value := range values {
		keys, inner := strings.Split(path, "."), tree
		for _, key := range keys[:len(keys)-1] {
			if inner[key] == nil {
				inner[key] = map[string]any{}
			}
			inner = inner[key].(map[string]any)
		}
		inner[keys[len(keys)-1]] = value
	}
	data, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = template(t, "--values", valuesFile(t, string(data))); err == nil {
		t.Fatalf("helm takes\n%s", data)
	}
	return err.Error()
}

// TestAMisspeltValueIsRefused misspells each value.
func TestAMisspeltValueIsRefused(t *testing.T) {
	t.Parallel()
	misspelt := map[string]any{}
	for path := range valuePaths(t) {
		if !free.MatchString(path) && path != "global" && !strings.HasPrefix(path, "global.") { // other charts may have globals of their own
			misspelt[path+"x"] = "x"
		}
	}
	said := refusal(t, misspelt)
	for path := range misspelt {
		parent, key := "", path
		if dot := strings.LastIndex(path, "."); dot >= 0 {
			parent, key = "/"+strings.ReplaceAll(path[:dot], ".", "/"), path[dot+1:]
		}
		if !regexp.MustCompile(`(?m)^ *- at '` + parent + `': additional properties .*'` + key + `'.* not allowed$`).MatchString(said) {
			t.Errorf("helm does not refuse %s:\n%s", path, said)
		}
	}
}

// TestAValueOfTheWrongTypeIsRefused gives each value one that is neither text, number, list, object nor yes or no, as it has to be.
func TestAValueOfTheWrongTypeIsRefused(t *testing.T) {
	t.Parallel()
	wrong := map[string]any{}
	for path, holds := range valuePaths(t) {
		if holds || strings.Contains(path, "/") || free.MatchString(path) && strings.Contains(path, ".") {
			continue
		}
		wrong[path] = 0.5 // none may be a fraction
	}
	for _, path := range []string{"resources", "podSecurityContext", "securityContext", "nodeSelector"} {
		wrong[path] = 0.5
	}
	said := refusal(t, wrong)
	for path := range wrong {
		if !strings.Contains(said, "- at '/"+strings.ReplaceAll(path, ".", "/")+"': ") {
			t.Errorf("helm does not refuse %s:\n%s", path, said)
		}
	}
}
