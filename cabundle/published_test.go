package cabundle

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
)

func encoded(bundles ...[]byte) string { return base64.StdEncoding.EncodeToString(concat(bundles...)) }

func TestPublishedNext(t *testing.T) {
	a, b := ca("a"), ca("b")
	tests := map[string]struct {
		before Published
		bundle []byte
		tidy   bool
		want   Published
	}{
		"for the first time":                      {bundle: a, want: Published{CABundle: encoded(a)}},
		"the same again":                          {before: Published{encoded(a), []string{encoded(b)}}, bundle: a, want: Published{encoded(a), []string{encoded(b)}}},
		"rotated: the former value is replaced":   {before: Published{CABundle: encoded(a)}, bundle: concat(a, b), want: Published{encoded(a, b), []string{encoded(a)}}},
		"rotated back":                            {before: Published{encoded(b), []string{encoded(a)}}, bundle: a, want: Published{encoded(a), []string{encoded(b)}}},
		"no target holds a former value any more": {before: Published{encoded(a), []string{encoded(b)}}, bundle: a, tidy: true, want: Published{CABundle: encoded(a)}},
		"but the value of before may be held":     {before: Published{encoded(a), []string{encoded(b)}}, bundle: b, tidy: true, want: Published{encoded(b), []string{encoded(a)}}},
		"nothing to publish":                      {before: Published{encoded(a), []string{encoded(b)}}},
		"the latest four are remembered":          {before: Published{"5", []string{"1", "2", "3", "4"}}, bundle: a, want: Published{encoded(a), []string{"2", "3", "4", "5"}}},
		"and no more than fits":                   {before: Published{strings.Repeat("x", maxReplacesBytes), []string{"1"}}, bundle: a, want: Published{encoded(a), []string{strings.Repeat("x", maxReplacesBytes)}}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.before.Next(bundleOf(test.bundle), test.tidy)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatAPolicyFills(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	published := Published{encoded(a, b), []string{encoded(a)}}
	fields := func(held ...[]byte) Object {
		object := Object{}
		for _, caBundle := range held {
			object.Fields = append(object.Fields, Field{CABundle: caBundle})
		}
		return object
	}
	for sentence, test := range map[string]struct {
		published Published
		object    Object
		fills     bool
		in        bool
	}{
		"what is empty":                 {published, fields(nil), true, false},
		"a placeholder":                 {published, fields([]byte("\n")), true, false},
		"what was published":            {published, fields(a), true, false},
		"what is published":             {published, fields(concat(a, b)), true, true},
		"each place":                    {published, fields(nil, a, concat(a, b)), true, false},
		"base64 of a certificate":       {published, fields([]byte(encoded(a))), true, false},
		"half a certificate":            {published, fields(a[:len(a)/2]), true, false},
		"but not other certificates":    {published, fields(nil, c), false, false},
		"nor the same in another order": {published, fields(concat(b, a)), false, false},
		"nor what has no place":         {published, fields(), false, false},
		"nor if nothing is published":   {Published{}, fields(nil), false, true},
		"nor a CRD that is large":       {published, Object{Size: 1_500_000, Fields: make([]Field, 1)}, false, false},
		"nor too many places":           {published, fields(make([][]byte, maxFilledBytes/len(published.CABundle)+1)...), false, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := test.published.Fills(test.object); got != test.fills {
				t.Errorf("a policy fills it: %v", got)
			}
			if got := test.published.In(test.object); got != test.in {
				t.Errorf("it is published: %v", got)
			}
		})
	}
}

func TestPublishedName(t *testing.T) {
	long := strings.Repeat("n", 200) + "." + strings.Repeat("m", 50)
	names := map[string]Reference{}
	for want, ref := range map[string]Reference{
		"apiserver":          {Kind: APIServer},
		"secret.ns.name":     {Kind: Secret, Namespace: "ns", Name: "name"},
		"certificate.ns.a.b": {Kind: Certificate, Namespace: "ns", Name: "a.b"},
		"long":               {Kind: Secret, Namespace: "ns", Name: long},
		"long too":           {Kind: Secret, Namespace: "ns", Name: long + "x"},
	} {
		got := ref.PublishedName()
		if !strings.HasPrefix(want, "long") && got != want {
			t.Errorf("%s is published as %s", ref, got)
		}
		if wrong := validation.IsDNS1123Subdomain(got); len(wrong) > 0 {
			t.Errorf("%s is no name: %v", got, wrong)
		}
		if other, taken := names[got]; taken {
			t.Errorf("%s and %s share a name", ref, other)
		}
		names[got] = ref
		if back, ok := ParseReference(ref.String()); !ok || back != ref {
			t.Errorf("%s is read as %s", ref, back)
		}
	}
	for _, text := range []string{"", "secret", "secret/a", "secret/a/b/c", "apiserver/x", "configmap/a/b", "secret/A/b"} {
		if ref, ok := ParseReference(text); ok {
			t.Errorf("%q is read as %s", text, ref)
		}
	}
}
