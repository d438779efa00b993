package cabundle_test

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
)

// FuzzParseManagers: whatever fields an entry has, there is one Manager for it, which owns a caBundle only if a field is called so.
func FuzzParseManagers(f *testing.F) {
	for _, kind := range cabundle.Kinds() {
		f.Add(string(kind), `{"f:webhooks":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:clientConfig":{"f:caBundle":{}}}}}`)
		f.Add(string(kind), `{"f:spec":{"f:conversion":{"f:webhook":{"f:clientConfig":{"f:caBundle":{}}}},"f:caBundle":{}}}`)
		f.Add(string(kind), `[]`)
	}
	f.Fuzz(func(t *testing.T, kind, fields string) {
		if !json.Valid([]byte(fields)) {
			return
		}
		object := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "a", FieldsV1: metav1.NewFieldsV1(fields)}, {Manager: "b"},
		}}}
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		managers := cabundle.ParseManagers(cabundle.Kind(kind), raw)
		switch {
		case len(managers) != 2 || managers[0].Name != "a" || managers[1].CABundle:
			t.Errorf("managers are %+v", managers)
		case managers[0].CABundle && !strings.Contains(fields, "caBundle") && !strings.Contains(fields, `\u`):
			t.Errorf("%s: %s owns a caBundle", kind, fields)
		}
		if patch := cabundle.Disown(managers, "a"); len(patch) > 1 || len(patch) == 1 && managers[0].Others {
			t.Errorf("%s: %s: %v", kind, fields, patch)
		}
	})
}
