package manifests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
)

// Object is one object of a file.
type Object struct {
	Group, Kind     string
	Namespace, Name string
	// Where is file:line, where its document begins.
	Where string
	// Raw is its JSON.
	Raw []byte
}

const renderFirst = "it is a Helm template: render it first with helm template"

var byteOrderMark = []byte("\ufeff")

// Parse returns the objects in text, which is that of file: YAML documents or JSON values, items of Lists one by one. What is no object
// of Kubernetes, such as Helm's values, is passed over. The error is one line that begins with file:line.
func Parse(file string, text []byte) ([]Object, error) {
	text = bytes.TrimPrefix(text, byteOrderMark)
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return nil, fmt.Errorf("%s is binary, or text in another encoding than UTF-8: neither YAML nor JSON", file)
	}
	var objects []Object
	for _, part := range split(text) {
		values, err := part.values(file)
		if err != nil {
			return nil, err
		}
		for _, value := range values {
			found, err := objectsOf(value, fmt.Sprintf("%s:%d", file, value.line))
			if err != nil {
				return nil, err
			}
			objects = append(objects, found...)
		}
	}
	return objects, nil
}

// values returns the document as JSON; one in JSON may be several values, one after the other.
func (d document) values(file string) ([]document, error) {
	if d.looksLikeJSON() {
		values, wrong := d.jsonValues()
		if wrong == nil {
			return values, nil
		}
		if _, err := yaml.YAMLToJSONStrict(d.text); err != nil { // else it is YAML in braces
			return nil, d.refuse(file, wrong.line, wrong.text)
		}
	}
	converted, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		line, what := d.locate(err)
		return nil, d.refuse(file, line, what)
	}
	return []document{{line: d.begins, text: converted}}, nil
}

// looksLikeJSON reports whether d begins with a brace and a quotation mark, or nothing in braces: so does YAML, but seldom.
func (d document) looksLikeJSON() bool {
	inside, braced := bytes.CutPrefix(bytes.TrimSpace(d.text), []byte("{"))
	inside = bytes.TrimSpace(inside)
	return braced && len(inside) > 0 && (inside[0] == '"' || inside[0] == '}')
}

// lineAt returns the number of the line in the file that has the byte of d.text at offset.
func (d document) lineAt(offset int) int {
	return d.line + bytes.Count(d.text[:min(offset, len(d.text))], []byte("\n"))
}

// refuse says what is wrong in a line of file, or that the document is a template, if it may be one.
func (d document) refuse(file string, line int, what string) error {
	if action := bytes.Index(d.text, []byte("{{")); action >= 0 {
		line, what = d.lineAt(action), renderFirst
	}
	return fmt.Errorf("%s:%d: %s", file, line, what)
}

// inLine is how the parser of YAML says where something is.
var inLine = regexp.MustCompile(`line (\d+): `)

// locate returns the line of the file that err, of the parser, is about, and what it says.
func (d document) locate(err error) (line int, what string) {
	what = strings.Join(strings.Fields(err.Error()), " ")
	line = d.line
	if at := inLine.FindStringSubmatchIndex(what); at != nil {
		number, _ := strconv.Atoi(what[at[2]:at[3]])
		line, what = d.line+max(number, 1)-1, what[at[1]:]
		if next := inLine.FindStringIndex(what); next != nil { // one is enough
			what = strings.TrimSpace(what[:next[0]])
		}
	}
	for _, prefix := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors: "} {
		what = strings.TrimPrefix(what, prefix)
	}
	return line, strings.ReplaceAll(what, "already set in map", "stands there twice")
}

// objectsOf returns the object in value, or those of a List.
func objectsOf(value document, where string) ([]Object, error) {
	head := gjson.GetManyBytes(value.text, "kind", "apiVersion", "metadata.namespace", "metadata.name", "items")
	kind, version := head[0].String(), head[1].String()
	if kind == "" || version == "" {
		return nil, nil
	}
	if strings.HasSuffix(kind, "List") && head[4].IsArray() {
		return itemsOf(head[4].Array(), strings.TrimSuffix(kind, "List"), version, where, value.line)
	}
	group, _, grouped := strings.Cut(version, "/")
	if !grouped {
		group = ""
	}
	object := Object{Group: group, Kind: kind, Namespace: head[2].String(), Name: head[3].String(), Where: where, Raw: value.text}
	if object.isTemplate() {
		return nil, fmt.Errorf("%s: %s %s: %s", where, kind, object.Name, renderFirst)
	}
	return []Object{object}, nil
}

// itemsOf returns the objects of a List. In one that the API server answers the items have no kind of their own: it is the given one.
func itemsOf(items []gjson.Result, kind, version, where string, line int) ([]Object, error) {
	var objects []Object
	for _, item := range items {
		raw := item.Raw
		if _, fields, ok := strings.Cut(raw, "{"); ok && item.IsObject() && !item.Get("kind").Exists() && !item.Get("apiVersion").Exists() {
			if strings.TrimSpace(fields) == "}" {
				continue
			}
			head, err := json.Marshal(map[string]string{"kind": kind, "apiVersion": version})
			if err != nil {
				return nil, err
			}
			raw = strings.TrimSuffix(string(head), "}") + "," + fields
		}
		found, err := objectsOf(document{line: line, text: []byte(raw)}, where)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// isTemplate reports whether o, in quotation marks, has actions of a template where it counts.
func (o *Object) isTemplate() bool {
	const action = "{{"
	if strings.Contains(o.Name, action) || strings.Contains(o.Namespace, action) {
		return true
	}
	found := false
	gjson.GetBytes(o.Raw, "metadata.annotations").ForEach(func(key, value gjson.Result) bool {
		found = cabundle.DecidesInjection(key.String()) && strings.Contains(value.String(), action)
		return !found
	})
	return found
}
