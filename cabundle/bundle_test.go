package cabundle

import (
	"bytes"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle/cabundletest"
)

// now is when all tests of this package take place.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// ca returns a CA certificate in PEM, valid around now.
func ca(name string) []byte {
	return cabundletest.CA(name, now.Add(-time.Hour), now.Add(time.Hour))
}

func expiredCA(name string) []byte {
	return cabundletest.CA(name, now.Add(-2*time.Hour), now.Add(-time.Hour))
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestParseExistingKeepsWhatIsGood(t *testing.T) {
	a, b := ca("a"), ca("b")
	tests := map[string]struct{ in, want []byte }{
		"a bundle":                      {concat(a, b), concat(a, b)},
		"nothing":                       {nil, nil},
		"the placeholder newline":       {[]byte("\n"), nil},
		"white space":                   {[]byte("  \n"), nil},
		"junk":                          {[]byte("junk"), nil},
		"junk between":                  {concat(a, []byte("junk\n"), b), concat(a, b)},
		"a damaged certificate between": {concat(a, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), b), concat(a, b)},
		"a truncated block behind":      {concat(a, b[:len(b)-30]), a},
		"a private key between":         {concat(a, cabundletest.PrivateKey(), b), concat(a, b)},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			if got := ParseExisting(test.in).PEM(); !bytes.Equal(got, test.want) {
				t.Error(cmp.Diff(string(test.want), string(got)))
			}
		})
	}
}

func TestMerge(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	expired, later := expiredCA("expired"), cabundletest.CA("later", now.Add(time.Hour), now.Add(2*time.Hour))
	tests := map[string]struct{ existing, source, want []byte }{
		"into nothing":                          {nil, a, a},
		"old first, then new":                   {a, b, concat(a, b)},
		"nothing new":                           {concat(a, b), b, concat(a, b)},
		"order of the existing ones stays":      {concat(b, a), concat(a, b, c), concat(b, a, c)},
		"duplicates go":                         {concat(a, a), concat(b, b, a), concat(a, b)},
		"expired ones go from both":             {concat(expired, a), concat(b, expired), concat(a, b)},
		"not yet valid ones stay":               {a, later, concat(a, later)},
		"all expired: the existing ones stay":   {expired, nil, expired},
		"all expired: a good source replaces":   {expired, a, a},
		"all expired on both sides: no change":  {expired, expiredCA("other"), expired},
		"an empty source prunes expired":        {concat(a, expired), nil, a},
		"a text beside the certificates is not": {concat([]byte("# a\n"), a), b, concat(a, b)},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			got := Merge(now, ParseExisting(test.existing), ParseExisting(test.source)).PEM()
			if !bytes.Equal(got, test.want) {
				t.Error(cmp.Diff(string(test.want), string(got)))
			}
			again := Merge(now, ParseExisting(got), ParseExisting(test.source)).PEM()
			if !bytes.Equal(again, got) {
				t.Error("merging again changes the result:", cmp.Diff(string(got), string(again)))
			}
		})
	}
}

func TestExpiryIsTheLastMomentOfValidity(t *testing.T) {
	until := cabundletest.CA("a", now.Add(-time.Hour), now)
	if ParseExisting(until).Unexpired(now).Empty() {
		t.Error("a certificate is dropped at notAfter, while it is still valid")
	}
	if !ParseExisting(until).Unexpired(now.Add(time.Second)).Empty() {
		t.Error("a certificate is kept after notAfter")
	}
}
