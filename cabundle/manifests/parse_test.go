package manifests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text    string
		want    []string // kind, namespace/name and place of each object
		refused string
	}{
		"a document": {"apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: ns}\n", []string{"Secret ns/a f:1"}, ""},
		"as Helm writes them, with comments and an empty one": {
			"---\n# Source: x\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\n# Source: y\n\n--- # another\n# z\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n",
			[]string{"Secret /a f:3", "Secret /b f:11"}, "",
		},
		"with CR and LF":                       {"apiVersion: v1\r\nkind: A\r\n---\r\napiVersion: v1\r\nkind: B\r\n", []string{"A / f:1", "B / f:4"}, ""},
		"with a byte order mark":               {"\ufeffapiVersion: v1\nkind: A\n", []string{"A / f:1"}, ""},
		"behind the hyphens":                   {"--- {apiVersion: v1, kind: A}\n", []string{"A / f:1"}, ""},
		"with a directive, and an end":         {"%YAML 1.2\n---\napiVersion: v1\nkind: A\n...\n---\napiVersion: v1\nkind: B\n", []string{"A / f:3", "B / f:7"}, ""},
		"four hyphens are text":                {"apiVersion: v1\nkind: A\nx: |\n  ----\n  --- y\n", []string{"A / f:1"}, ""},
		"a group":                              {"apiVersion: a.b/v1\nkind: A\n", []string{"A.a.b / f:1"}, ""},
		"JSON":                                 {"{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"A\"}", []string{"A / f:1"}, ""},
		"JSON values in a row":                 {"{\"apiVersion\":\"v1\",\"kind\":\"A\"}\n\n{\"apiVersion\":\"v1\",\"kind\":\"B\", \"x\": \"\\ud83d\\ude00\"}", []string{"A / f:1", "B / f:3"}, ""},
		"YAML in braces":                       {"{apiVersion: v1, kind: A}", []string{"A / f:1"}, ""},
		"a List":                               {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: B}]}\n- 1\n", []string{"A / f:1", "B / f:1"}, ""},
		"a List of the API server":             {"apiVersion: v1\nkind: SecretList\nitems: [{metadata: {name: a}}, {}]\n", []string{"Secret /a f:1"}, ""},
		"values are no objects":                {"kind: x\nreplicas: 3\n---\n- 1\n---\ntext\n", nil, ""},
		"a template's action in a text":        {"apiVersion: v1\nkind: A\nmetadata: {annotations: {summary: \"{{ $labels.x }}\"}}\n", []string{"A / f:1"}, ""},
		"nothing":                              {"", nil, ""},
		"a key twice":                          {"a: 1\n---\napiVersion: v1\nkind: A\nmetadata:\n  name: a\n  name: b\n", nil, `f:7: key "name" stands there twice`},
		"a key twice in JSON":                  {"{\"apiVersion\":\"v1\",\n\"x\": {\"y\": [{\"z\":1},{\"z\":1}],\n\"y\": 2}}", nil, `f:3: key "y" stands there twice`},
		"a key twice in YAML in braces":        {"{a: 1, a: 2}", nil, `f:1: key "a" stands there twice`},
		"no YAML, in the second document":      {"a: 1\n---\nkind: A\n  b: 1\n", nil, "f:4: mapping values are not allowed in this context"},
		"a tab":                                {"a:\n\tb: 1\n", nil, "f:2: found character that cannot start any token"},
		"no JSON":                              {"{\"a\": 1,\n\"b\" 2}", nil, "f:2: invalid character '2' after object key"},
		"a template":                           {"{{- if .Values.x }}\na: 1\n{{- end }}", nil, "f:1: it is a Helm template: render it first with helm template"},
		"an action in the middle":              {"a: 1\n---\nb: 1\nc: {{ .x }}\n", nil, "f:4: it is a Helm template"},
		"an action in quotation marks":         {"apiVersion: v1\nkind: A\nmetadata: {name: \"{{ .x }}\"}\n", nil, "f:1: A {{ .x }}: it is a Helm template"},
		"an action in an annotation that asks": {"apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: {cert-manager.io/inject-ca-from: \"{{ .x }}/y\"}}\n", nil, "f:1: A a: it is a Helm template"},
		"a program":                            {"\x7fELF\x00", nil, "f is binary"},
		"another encoding":                     {"a: \xfc\n", nil, "f is binary, or text in another encoding than UTF-8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := Parse("f", []byte(test.text))
			if test.refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.refused) {
					t.Errorf("error %v, want %q", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, names(objects)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func names(objects []Object) []string {
	var all []string
	for _, o := range objects {
		all = append(all, fmt.Sprintf("%s %s/%s %s", strings.TrimSuffix(o.Kind+"."+o.Group, "."), o.Namespace, o.Name, o.Where))
	}
	return all
}

// FuzzParse: whatever a file holds, it is read or refused in one line; what is read is JSON, is in a line of the file, and is the same without
// comments before it.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"keda-apiservice.yaml", "trust-manager-validating.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "testdata", "manifests", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{
		"--- # x\napiVersion: v1\nkind: List\nitems: [{metadata: {}}, {}]\n...\n", `{"kind":"AList","apiVersion":"v1","items":[{"a":1}]} {"a":{"a":[]}}`,
		"a: &a [1]\nb: *a\n<<: {c: 1}\n", "{{ x }}", "? [a]\n: b\n", "%YAML 1.1\n---\n!!binary x\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {ca.crt: '!'}\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, err := Parse("f", text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || !strings.HasPrefix(err.Error(), "f") {
				t.Errorf("error %q", err)
			}
			return
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, object := range objects {
			line := 0
			if _, err := fmt.Sscanf(object.Where, "f:%d", &line); err != nil || line < 1 || line > lines || !json.Valid(object.Raw) {
				t.Errorf("%s: %v, of %d lines: %q", object.Where, err, lines, object.Raw)
			}
		}
		again, err := Parse("f", slices.Concat([]byte("# comment\n---\n"), bytes.TrimPrefix(text, byteOrderMark)))
		if err != nil || len(again) != len(objects) {
			t.Errorf("with a comment before it: %d objects, not %d: %v", len(again), len(objects), err)
		}
		if _, _, err := Survey(now, objects, "default"); err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("error %q", err)
		}
	})
}
