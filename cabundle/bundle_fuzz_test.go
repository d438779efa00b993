package cabundle_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// fuzzNow is when fuzz tests take place: the expired CA has expired, the others have not.
var fuzzNow = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// fuzzCA returns one of the CAs in testdata/pem: valid, other or expired. They are always the same, so that what a fuzz test
// finds can be played again.
func fuzzCA(t testing.TB, name string) []byte {
	t.Helper()
	ca, err := os.ReadFile("testdata/pem/" + name + ".crt")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// addPEM adds what may be in a ca.crt or a caBundle.
func addPEM(f *testing.F) {
	f.Helper()
	certificate := string(fuzzCA(f, "valid"))
	for _, seed := range []string{
		"", "\n", certificate, certificate + string(fuzzCA(f, "expired")), "# a comment\n" + certificate,
		strings.ReplaceAll(certificate, "\n", "\r\n"), strings.TrimSpace(certificate), certificate[:len(certificate)-20],
		certificate + string(cabundletest.PrivateKey()),
		strings.Replace(certificate, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1),
		strings.ReplaceAll(certificate, "CERTIFICATE", "TRUSTED CERTIFICATE"),
		"-----BEGIN CERTIFICATE-----\n" + certificate,
	} {
		f.Add([]byte(seed))
	}
}

// FuzzParseSource: of a ca.crt, only certificates come out, all that went in, and none of what stands between them.
func FuzzParseSource(f *testing.F) {
	addPEM(f)
	f.Fuzz(func(t *testing.T, ca []byte) {
		bundle, problem := cabundle.ParseSource(ca)
		if (problem == nil) == bundle.Empty() {
			t.Fatalf("empty: %v, Problem %+v", bundle.Empty(), problem)
		}
		if problem != nil {
			if bytes.Contains([]byte(problem.Message()), []byte("-----")) || len(problem.Message()) > 1000 {
				t.Errorf("Problem %+v", problem)
			}
			return
		}
		if begun := bytes.Count(ca, []byte("-----BEGIN")); begun != len(bundle.Certificates()) {
			t.Errorf("%d blocks, %d certificates", begun, len(bundle.Certificates()))
		}
		checkPEM(t, bundle.PEM())
	})
}

// checkPEM fails the test unless out holds CERTIFICATE blocks alone, and is read to the same bytes again.
func checkPEM(t *testing.T, out []byte) {
	t.Helper()
	rest := out
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			t.Fatalf("it holds more than certificates: %q", out)
		}
	}
	if again := cabundle.ParseExisting(out).PEM(); !bytes.Equal(out, again) {
		t.Errorf("it is read as %q", again)
	}
}

// FuzzParseExisting: of what is in a caBundle, only certificates are taken, and nothing of a strict reading is missing.
func FuzzParseExisting(f *testing.F) {
	addPEM(f)
	f.Fuzz(func(t *testing.T, caBundle []byte) {
		lenient := cabundle.ParseExisting(caBundle)
		checkPEM(t, lenient.PEM())
		if strict, problem := cabundle.ParseSource(caBundle); problem == nil && strict.Digest() != lenient.Digest() {
			t.Error("a strict reading has other certificates")
		}
	})
}
