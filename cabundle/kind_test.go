package cabundle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestEachRowIsWhole(t *testing.T) {
	seen := map[Kind]bool{}
	for _, row := range rows {
		if row.kind == "" || seen[row.kind] || row.resource.Empty() || row.none == "" && len(row.needs) == 0 {
			t.Errorf("row %+v", row)
		}
		seen[row.kind] = true
		// The code cuts the part off by its length.
		if after, ok := strings.CutPrefix(row.caBundle, row.part); !ok || after == "" || !strings.ContainsAny(after[:1], ".[") {
			t.Errorf("%s: caBundle is at %q, not in %q", row.kind, row.caBundle, row.part)
		}
		for _, need := range row.needs {
			if !strings.HasPrefix(need.path, row.part+".") || need.words == "" {
				t.Errorf("%s: needs %+v, not in %q", row.kind, need, row.part)
			}
		}
		if strings.Contains(row.caBundle, "[]") != (row.itemName != "") {
			t.Errorf("%s: items are named by %q", row.kind, row.itemName)
		}
		if kind, ok := KindOf(row.resource.Group, string(row.kind)); !ok || kind != row.kind {
			t.Errorf("%s is not found by group and kind", row.kind)
		}
	}
}

func TestKindOfRefusesOthers(t *testing.T) {
	for group, kind := range map[string]string{"admissionregistration.k8s.io": "ValidatingAdmissionPolicy", "example.com": "APIService", "": ""} {
		if k, ok := KindOf(group, kind); ok {
			t.Errorf("%s %s is %s", group, kind, k)
		}
	}
}

// TestAKindMoreIsARowMore reads a kind that does not exist: nothing but its row says where its caBundles are.
func TestAKindMoreIsARowMore(t *testing.T) {
	r := &row{
		kind: "Imaginary", part: "spec", caBundle: "spec.backends[].tls.caBundle", itemName: "host", none: "it has no backends",
		needs: []need{{"spec.enabled", gjson.Result.Bool, "it is not enabled"}},
	}
	tests := map[string]struct {
		object        string
		want          []Field
		notInjectable string
	}{
		"two backends, and one without TLS": {
			`{"spec":{"enabled":true,"backends":[{"host":"a","tls":{}},{"host":"b"},{"host":"c","tls":{"caBundle":"eA=="}}]}}`,
			[]Field{{Path: "/spec/backends/0/tls/caBundle", Webhook: "a"}, {Path: "/spec/backends/2/tls/caBundle", Webhook: "c", CABundle: []byte("x")}}, "",
		},
		"a need that is not met":   {`{"spec":{"backends":[{"host":"a","tls":{}}]}}`, nil, "it is not enabled"},
		"nowhere to put it":        {`{"spec":{"enabled":true,"backends":[]}}`, nil, "it has no backends"},
		"no list where one should": {`{"spec":{"enabled":true,"backends":{"host":"a","tls":{}}}}`, nil, "it has no backends"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			fields, notInjectable := r.read([]byte(test.object))
			if diff := cmp.Diff(test.want, fields); diff != "" || notInjectable != test.notInjectable {
				t.Errorf("%q\n%s", notInjectable, diff)
			}
		})
	}
	const owned = `{"f:spec":{"f:backends":{"k:{\"host\":\"a\"}":{".":{},"f:host":{},"f:tls":{"f:caBundle":{}}}}}}`
	if caBundle, others := r.owned(gjson.Parse(owned), "."+r.caBundle); !caBundle || others {
		t.Errorf("owns a caBundle: %t, others: %t", caBundle, others)
	}
}
