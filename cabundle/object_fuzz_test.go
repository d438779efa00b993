package cabundle_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
)

// FuzzParseObject: each field that is found can be patched, for what is read is what a JSON patch means, and the patched
// object is read with the new value.
func FuzzParseObject(f *testing.F) {
	for _, manifest := range manifests(f) {
		f.Add(string(kindOf(f, manifest)), manifest)
	}
	f.Add("APIService", []byte(`{"spec":{"service":{},"caBundle":"Cg==","insecureSkipTLSVerify":false}}`))
	f.Add("MutatingWebhookConfiguration", []byte(`{"webhooks":{"clientConfig":{}}}`))
	f.Fuzz(func(t *testing.T, kind string, raw []byte) {
		if !json.Valid(raw) {
			return // see ParseObject
		}
		object := cabundle.ParseObject(cabundle.Kind(kind), raw)
		if slices.Contains(cabundle.Kinds(), cabundle.Kind(kind)) && (len(object.Fields) == 0) != (object.NotInjectable != "") {
			t.Errorf("%d fields, but %q", len(object.Fields), object.NotInjectable)
		}
		for key := range object.Annotations {
			if misspelt, _ := cabundle.MisspeltAnnotation(map[string]string{key: ""}); !cabundle.DecidesInjection(key) && misspelt == "" {
				t.Errorf("annotation %q is kept", key)
			}
		}
		if !slices.Contains(cabundle.Kinds(), cabundle.Kind(kind)) {
			return // it is of no use, and must do no harm
		}
		raw = withoutDoubleKeys(t, raw)
		object = cabundle.ParseObject(cabundle.Kind(kind), raw)
		for n, field := range object.Fields {
			operation, err := json.Marshal([]map[string]string{{"op": "add", "path": field.Path, "value": "Cg=="}})
			if err != nil {
				t.Fatal(err)
			}
			patch, err := jsonpatch.DecodePatch(operation)
			if err != nil {
				t.Fatal(err)
			}
			patched, err := patch.Apply(raw)
			if err != nil {
				t.Fatalf("%s cannot be patched: %v", field.Path, err)
			}
			if got := cabundle.ParseObject(cabundle.Kind(kind), patched).Fields; len(got) != len(object.Fields) || string(got[n].CABundle) != "\n" {
				t.Errorf("%s was patched, and is read as %+v", field.Path, got)
			}
		}
	})
}

// withoutDoubleKeys returns raw with each key of an object once: the API server sends no other, and decoders differ on them.
func withoutDoubleKeys(t *testing.T, raw []byte) []byte {
	t.Helper()
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // one may be larger than a float64
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	once, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return once
}

// manifests returns the JSON of those in testdata/manifests, by file name. They are from well-known projects: see
// testdata/manifests/README.md.
func manifests(f *testing.F) map[string][]byte {
	f.Helper()
	paths, err := filepath.Glob("testdata/manifests/*.yaml")
	if err != nil || len(paths) == 0 {
		f.Fatal("no manifests: ", err)
	}
	found := map[string][]byte{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if found[filepath.Base(path)], err = yaml.YAMLToJSON(content); err != nil {
			f.Fatal(err)
		}
	}
	return found
}

// kindOf returns the kind of a manifest, as JSON.
func kindOf(f *testing.F, manifest []byte) cabundle.Kind {
	f.Helper()
	var object struct{ Kind cabundle.Kind }
	if err := json.Unmarshal(manifest, &object); err != nil {
		f.Fatal(err)
	}
	return object.Kind
}
