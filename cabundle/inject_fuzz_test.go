package cabundle_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/caject/caject/cabundle"
)

// FuzzInject: injection changes caBundles alone, into certificates alone, loses none that is valid, and is done once.
func FuzzInject(f *testing.F) {
	for _, manifest := range manifests(f) {
		f.Add(string(kindOf(f, manifest)), manifest, fuzzCA(f, "expired"))
		f.Add(string(kindOf(f, manifest)), manifest, fuzzCA(f, "other"))
		f.Add(string(kindOf(f, manifest)), manifest, []byte("\n"))
	}
	valid := fuzzCA(f, "valid")
	source, _, problem := cabundle.ParseSource(valid)
	if problem != nil {
		f.Fatal(problem)
	}
	f.Fuzz(func(t *testing.T, kind string, raw, existing []byte) {
		if !json.Valid(raw) {
			return // see ParseObject
		}
		object := cabundle.ParseObject(cabundle.Kind(kind), raw)
		for n := range object.Fields {
			object.Fields[n].CABundle = existing
		}
		patch, dropped, problem := cabundle.Inject(fuzzNow, object, nil, source, cabundle.Merge)
		if problem != nil {
			if problem.Reason != cabundle.TargetTooLarge || len(patch) > 0 {
				t.Errorf("Problem %+v, patch %v", problem, patch)
			}
			return
		}
		for _, operation := range patch {
			if !strings.HasSuffix(operation.Path, "/caBundle") || operation.Operation != "add" {
				t.Fatalf("it does %s %s", operation.Operation, operation.Path)
			}
			value, err := base64.StdEncoding.DecodeString(operation.Value.(string))
			if err != nil {
				t.Fatal(err)
			}
			checkPEM(t, value)
			for _, kept := range cabundle.ParseExisting(existing).Unexpired(fuzzNow).Certificates() {
				if dropped == 0 && !bytes.Contains(value, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: kept.Raw})) {
					t.Errorf("a valid certificate is lost: %s", kept.Subject)
				}
			}
			if !bytes.Contains(value, valid) {
				t.Error("the source's certificate is not in it")
			}
			for n := range object.Fields {
				if object.Fields[n].Path == operation.Path {
					object.Fields[n].CABundle = value
				}
			}
		}
		if again, _, problem := cabundle.Inject(fuzzNow, object, nil, source, cabundle.Merge); len(again) > 0 || problem != nil {
			t.Errorf("what was injected is injected again: %v, %+v", again, problem)
		}
	})
}
