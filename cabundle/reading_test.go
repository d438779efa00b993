package cabundle

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFingerprints(t *testing.T) {
	a, b := strings.Repeat("a1", 32), strings.Repeat("0b", 32)
	var many, first []string
	for i := range 2 * maxFingerprints {
		many = append(many, fmt.Sprintf("%064x", i))
	}
	first = many[:maxFingerprints]
	tests := map[string]struct {
		text string
		want []string
	}{
		"nothing":                       {"", nil},
		"nothing but separators":        {" , ,\n", nil},
		"one":                           {a, []string{a}},
		"a comma between two":           {a + "," + b, []string{a, b}},
		"white space between two":       {"\t" + b + "\r\n " + a + " ", []string{b, a}},
		"comma and white space":         {a + " , " + b, []string{a, b}},
		"upper case":                    {strings.ToUpper(a), []string{a}},
		"as openssl prints it":          {strings.TrimSuffix(strings.Repeat("A1:", 32), ":"), []string{a}},
		"the same one twice":            {a + "," + strings.ToUpper(a), []string{a}},
		"what is none is ignored":       {"sha256 " + a + " -----BEGIN CERTIFICATE-----", []string{a}},
		"one that is cut off":           {a[1:] + "," + a[2:], nil},
		"a SHA-1":                       {strings.Repeat("a1", 20), nil},
		"64 characters that are no hex": {strings.Repeat("g", 64), nil},
		"the first 64 of more":          {strings.Join(many, ","), first},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ParseFingerprints(test.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzParseFingerprints: whatever the text is, each result is a fingerprint that stands in it, none comes twice, and reading the
// result gives it again.
func FuzzParseFingerprints(f *testing.F) {
	f.Add("")
	f.Add(strings.Repeat("a1", 32) + ", " + strings.Repeat("A1:", 32))
	f.Add(strings.Repeat("é", 64))
	f.Fuzz(func(t *testing.T, text string) {
		got := ParseFingerprints(text)
		plain, seen := strings.ToLower(strings.ReplaceAll(text, ":", "")), map[string]bool{}
		for _, fingerprint := range got {
			if len(fingerprint) != 64 || strings.Trim(fingerprint, "0123456789abcdef") != "" || !strings.Contains(plain, fingerprint) {
				t.Errorf("%q is not in the text", fingerprint)
			}
			if seen[fingerprint] {
				t.Errorf("%q comes twice", fingerprint)
			}
			seen[fingerprint] = true
		}
		if len(got) > 64 {
			t.Errorf("%d fingerprints", len(got))
		}
		if diff := cmp.Diff(got, ParseFingerprints(strings.Join(got, " "))); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOutcome(t *testing.T) {
	bundle := ParseExisting(ca("a"))
	tests := map[string]struct {
		reading Reading
		want    string
	}{
		"certificates":                      {Reading{Bundle: bundle, Version: 3}, bundle.Digest()},
		"a problem, whatever it says":       {Reading{Problem: &Problem{Reason: SourceNotFound, Detail: "x"}, Version: 4}, "SourceNotFound"},
		"some distrusted, in any order":     {Reading{Bundle: bundle, Distrusted: []string{"b", "a"}}, bundle.Digest() + " -a,b"},
		"one is one, though it comes twice": {Reading{Bundle: bundle, Distrusted: []string{"a", "a"}}, bundle.Digest() + " -a"},
		"one trusted again":                 {Reading{Bundle: bundle, TrustedAgain: []string{"a"}}, bundle.Digest() + " +a"},
		"a problem beside distrust": {
			Reading{Problem: &Problem{Reason: SourceWithoutCA}, Distrusted: []string{"a"}, TrustedAgain: []string{"c", "b"}},
			"SourceWithoutCA -a +b,c",
		},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			if got := test.reading.Outcome(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
