package cabundle

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
)

func encoded(bundles ...[]byte) string { return base64.StdEncoding.EncodeToString(concat(bundles...)) }

func TestPublish(t *testing.T) {
	a, b, expired := ca("a"), ca("b"), expiredCA("expired")
	tests := map[string]struct {
		before  Published
		source  []byte
		problem Reason
		combine Combine
		want    Published
	}{
		"for the first time":           {source: a, want: Published{CABundle: encoded(a)}},
		"the same again":               {before: Published{CABundle: encoded(a)}, source: a, want: Published{CABundle: encoded(a)}},
		"rotated: old and new":         {before: Published{CABundle: encoded(a)}, source: b, want: Published{encoded(a, b), []string{encoded(a)}}},
		"rotated, without merging":     {before: Published{CABundle: encoded(a)}, source: b, combine: Replace, want: Published{encoded(b), []string{encoded(a)}}},
		"rotated back":                 {before: Published{encoded(b), []string{encoded(a)}}, source: a, combine: Replace, want: Published{encoded(a), []string{encoded(b)}}},
		"an expired one goes":          {before: Published{CABundle: encoded(expired, a)}, source: a, want: Published{encoded(a), []string{encoded(expired, a)}}},
		"comments are not published":   {source: concat([]byte("# a\n"), a), want: Published{CABundle: encoded(a)}},
		"all of the source expired":    {before: Published{CABundle: encoded(a)}, source: expired, want: Published{CABundle: encoded(a)}},
		"not found: what was stays":    {before: Published{CABundle: encoded(a)}, problem: SourceNotFound, want: Published{CABundle: encoded(a)}},
		"an outage: what was stays":    {before: Published{CABundle: encoded(a)}, problem: SourceUnavailable, want: Published{CABundle: encoded(a)}},
		"a bad source: what was stays": {before: Published{CABundle: encoded(a)}, problem: SourceInvalid, want: Published{CABundle: encoded(a)}},
		"opt-in withdrawn: nothing":    {before: Published{encoded(a), []string{encoded(b)}}, problem: SourceNotAllowed},
		"out of scope: nothing":        {before: Published{CABundle: encoded(a)}, problem: SourceOutOfScope},
		"what somebody wrote there":    {before: Published{CABundle: "!"}, source: a, want: Published{encoded(a), []string{"!"}}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			var problem *Problem
			if test.problem != "" {
				problem = &Problem{Reason: test.problem}
			}
			combine := test.combine
			if combine == nil {
				combine = Merge
			}
			got, dropped := Publish(now, test.before, ParseExisting(test.source), problem, combine)
			if diff := cmp.Diff(test.want, got, cmp.Transformer("nil", func(s []string) string { return strings.Join(s, " ") })); diff != "" || dropped > 0 {
				t.Errorf("%d dropped\n%s", dropped, diff)
			}
		})
	}
}

func TestPublishStaysSmall(t *testing.T) {
	var published Published
	dropped := 0
	for n := range 400 {
		var some int
		published, some = Publish(now, published, ParseExisting(ca(fmt.Sprintf("%0200d", n))), nil, Merge)
		dropped += some
	}
	bundle := published.Bundle()
	if size := len(bundle.PEM()); size > MaxSourceBytes || size < MaxSourceBytes/2 || dropped == 0 || dropped+len(bundle.Certificates()) != 400 {
		t.Errorf("%d bytes in %d certificates, %d dropped", size, len(bundle.Certificates()), dropped)
	}
	if newest := bundle.Certificates()[len(bundle.Certificates())-1].Subject.CommonName; !strings.HasSuffix(newest, "399") {
		t.Errorf("the newest is %s", newest)
	}
	if len(published.Replaces) != maxReplaces {
		t.Errorf("it remembers %d former values", len(published.Replaces))
	}
}

func TestPublishKeepsTheWholeSource(t *testing.T) {
	var source, others []byte
	for n := 0; len(source) < MaxSourceBytes*3/4; n++ {
		source, others = append(source, ca(fmt.Sprint(n))...), append(others, ca(fmt.Sprint("other", n))...)
	}
	before := Published{CABundle: encoded(source, others[:len(others)/3])}
	after, dropped := Publish(now, before, ParseExisting(source), nil, Merge)
	wanted := ParseExisting(source).certificates
	if got := after.Bundle().certificates; dropped == 0 || len(got) < len(wanted) || !slices.EqualFunc(got[:len(wanted)], wanted, (*x509.Certificate).Equal) {
		t.Errorf("%d dropped, of %d certificates of the source the first of %d are left", dropped, len(wanted), len(got))
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
		if back, ok := ParsePublishedSource(ref.String()); !ok || back != ref {
			t.Errorf("%s is read as %s", ref, back)
		}
	}
	for _, text := range []string{"", "secret", "secret/a", "secret/a/b/c", "apiserver/x", "configmap/a/b", "secret/A/b"} {
		if ref, ok := ParsePublishedSource(text); ok {
			t.Errorf("%q is read as %s", text, ref)
		}
	}
}
