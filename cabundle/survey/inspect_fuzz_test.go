package survey

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// FuzzDecodePEM looks for a certificate, or what passes for one, that makes the decoder panic or that gets through to a terminal.
func FuzzDecodePEM(f *testing.F) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	ca := cabundletest.CA("evil\x1b[2J\u009b\u202e\r\n", now.Add(-time.Hour), now.Add(time.Hour))
	block, _ := pem.Decode(ca)
	f.Add(block.Bytes, true)
	f.Add(ca, false)
	f.Add(cabundletest.NegativeSerial(ca), false)
	f.Add(cabundletest.UnknownCurve(ca), false)
	f.Add(cabundletest.PrivateKey(), false)
	f.Add(bytes.Repeat(ca, 3), false)
	f.Add([]byte("Cg=="), false)
	f.Fuzz(func(t *testing.T, text []byte, der bool) {
		if der { // most of what is made up at random is no PEM
			text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text})
		}
		decoded := DecodePEM(now, text, func(*x509.Certificate) string { return "asked" })
		readable := 0
		for i, one := range decoded {
			if one.Number != i+1 || len(one.Fingerprint) != 64 || one.Subject == "" && one.Fault == "" {
				t.Fatalf("certificate %d is %+v", i+1, one)
			}
			if one.Subject != "" {
				readable++
			}
			shown, err := json.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range append(one.Names, one.Subject, one.Issuer, one.Fault, string(shown)) {
				visible(t, text)
			}
		}
		if held := len(cabundle.ParseExisting(text).Certificates()); held != readable {
			t.Errorf("%d certificates are shown, and %d are held", readable, held)
		}
		visible(t, fault(text))
	})
}

func FuzzPrintable(f *testing.F) {
	for _, text := range []string{"CN=a", "\x1b]0;owned\a", "\xff\xfe", "\u202e\u0000", "ä€😀", strings.Repeat("a", 500)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := Printable(text)
		visible(t, shown)
		if again := Printable(shown); len(shown) < maxPrintable && again != shown {
			t.Errorf("%q is printable, and is printed as %q", shown, again)
		}
	})
}

// visible fails the test if text has anything that is no visible character.
func visible(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Fatalf("not UTF-8: %q", text)
	}
	if at := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '…' }); at >= 0 {
		t.Fatalf("not visible: %q", text[at:])
	}
}
