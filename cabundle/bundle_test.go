package cabundle

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
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

func TestParseSource(t *testing.T) {
	a, b := ca("a"), ca("b")
	block, _ := pem.Decode(a)
	tests := map[string]struct {
		in      []byte
		want    []byte // PEM; nil if refused
		reason  Reason
		message string
	}{
		"one certificate":                 {in: a, want: a},
		"two certificates keep order":     {in: concat(b, a), want: concat(b, a)},
		"text around blocks is dropped":   {in: concat([]byte("# a\n"), a, []byte("# b\n"), b, []byte("\n\n")), want: concat(a, b)},
		"Windows line ends":               {in: bytes.ReplaceAll(a, []byte("\n"), []byte("\r\n")), want: a},
		"an expired certificate":          {in: expiredCA("old"), want: nil, reason: ""},
		"a private key":                   {in: cabundletest.PrivateKey(), reason: SourceInvalid, message: `holds a block of type "EC PRIVATE KEY"`},
		"a private key behind":            {in: concat(a, cabundletest.PrivateKey()), reason: SourceInvalid, message: `holds a block of type "EC PRIVATE KEY"`},
		"a public key":                    {in: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}), reason: SourceInvalid, message: "PUBLIC KEY"},
		"a trusted certificate":           {in: pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: block.Bytes}), reason: SourceInvalid, message: "TRUSTED CERTIFICATE"},
		"headers in a block":              {in: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"k": "v"}, Bytes: block.Bytes}), reason: SourceInvalid, message: "has PEM headers in block 1"},
		"nothing":                         {in: nil, reason: SourceInvalid, message: "holds no certificate"},
		"white space":                     {in: []byte(" \n\t\n"), reason: SourceInvalid, message: "holds no certificate"},
		"garbage":                         {in: []byte("garbage"), reason: SourceInvalid, message: "holds no certificate"},
		"bare DER":                        {in: block.Bytes, reason: SourceInvalid, message: "holds no certificate"},
		"a block that is no certificate":  {in: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), reason: SourceInvalid, message: "block 1 is not a certificate"},
		"a truncated block":               {in: a[:len(a)-30], reason: SourceInvalid, message: "cannot be decoded"},
		"a truncated block behind":        {in: concat(a, b[:len(b)-30]), reason: SourceInvalid, message: "cannot be decoded"},
		"a key in a damaged block":        {in: concat(a, []byte("-----BEGIN EC PRIVATE KEY-----\n!!!\n-----END EC PRIVATE KEY-----\n")), reason: SourceInvalid, message: "cannot be decoded"},
		"too large once it has line ends": {in: singleLines(MaxSourceBytes - 100), reason: SourceTooLarge, message: "more than 65536"},
		"too large":                       {in: bytes.Repeat(a, MaxSourceBytes/len(a)+1), reason: SourceTooLarge, message: "more than 65536"},
		"just not too large":              {in: bytes.Repeat([]byte("\n"), MaxSourceBytes), reason: SourceInvalid, message: "no certificate"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			got, problem := ParseSource(test.in)
			if test.reason == "" {
				if problem != nil {
					t.Fatalf("refused: %v", problem)
				}
				if test.want != nil && !bytes.Equal(got.PEM(), test.want) {
					t.Error(cmp.Diff(string(test.want), string(got.PEM())))
				}
				return
			}
			if problem == nil || problem.Reason != test.reason || !strings.Contains(problem.Detail, test.message) {
				t.Errorf("problem is %+v, not %s: …%s…", problem, test.reason, test.message)
			}
			if !got.Empty() {
				t.Error("a refused source gave certificates")
			}
		})
	}
}

func TestProblemsHoldNothingOfTheSource(t *testing.T) {
	secret := "c2VjcmV0c2VjcmV0c2VjcmV0"
	for _, in := range []string{
		secret,
		"-----BEGIN CERTIFICATE-----\n" + secret + "\n-----END CERTIFICATE-----\n",
		"-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
	} {
		if _, problem := ParseSource([]byte(in)); problem == nil || strings.Contains(problem.Error(), "secret") || strings.Contains(problem.Error(), secret) {
			t.Errorf("problem of %q is %v", in, problem)
		}
	}
}

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

// singleLines returns at most size bytes of PEM, the base64 of each certificate on one line.
func singleLines(size int) []byte {
	var all []byte
	for n := 0; ; n++ {
		block, _ := pem.Decode(ca(fmt.Sprintf("%0200d", n)))
		one := "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(block.Bytes) + "\n-----END CERTIFICATE-----\n"
		if len(all)+len(one) > size {
			return all
		}
		all = append(all, one...)
	}
}
