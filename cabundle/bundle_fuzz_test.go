package cabundle_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/transport"

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
		certificate + string(cabundletest.NegativeSerial(fuzzCA(f, "other"))), string(cabundletest.UnknownCurve(fuzzCA(f, "other"))) + certificate,
		strings.TrimSpace(certificate) + certificate, "\ufeff" + certificate, strings.ReplaceAll(certificate, "\n", `\n`),
		strings.ReplaceAll(certificate, "\n", "\r"), strings.ReplaceAll(certificate, "\n", "\r\r\n"), strings.ReplaceAll(certificate, "\n", "\n "),
		base64.StdEncoding.EncodeToString([]byte(certificate)), "# -----BEGIN CERTIFICATE-----\n" + certificate, `"` + certificate + `"`,
	} {
		f.Add([]byte(seed))
	}
}

// FuzzParseSource: of a ca.crt, only certificates come out, those that the API server would take, and no message has anything of it.
func FuzzParseSource(f *testing.F) {
	addPEM(f)
	f.Fuzz(func(t *testing.T, ca []byte) {
		bundle, leftOut, problem := cabundle.ParseSource(ca)
		if (problem == nil) == bundle.Empty() {
			t.Fatalf("empty: %v, Problem %+v", bundle.Empty(), problem)
		}
		if problem != nil {
			if !fixedText(problem.Detail) || !fixedText(problem.Remedy) || len(problem.Message()) > 1000 {
				t.Errorf("Problem %+v", problem)
			}
			return
		}
		for _, one := range leftOut {
			if !fixedText(one) {
				t.Errorf("left out: %q", one)
			}
		}
		begun := 0
		for line := range bytes.Lines(ca) {
			if line = bytes.TrimRight(line, " \t\r\n"); bytes.HasPrefix(line, []byte("-----BEGIN")) {
				if begun++; string(line) != "-----BEGIN CERTIFICATE-----" {
					t.Errorf("it holds %q", line)
				}
			}
		}
		if begun != len(bundle.Certificates())+len(leftOut) {
			t.Errorf("%d blocks, %d certificates, left out: %q", begun, len(bundle.Certificates()), leftOut)
		}
		checkPEM(t, bundle.PEM())
		checkAPIServer(t, ca, bundle)
	})
}

// checkAPIServer fails the test unless the API server takes from ca what is in bundle.
func checkAPIServer(t *testing.T, ca []byte, bundle cabundle.Bundle) {
	t.Helper()
	config, err := transport.TLSConfigFor(&transport.Config{TLS: transport.TLSConfig{CAData: ca}})
	if err != nil {
		t.Fatal(err)
	}
	if !config.RootCAs.Equal(pool(bundle)) {
		t.Error("the API server takes other certificates from it")
	}
}

func pool(b cabundle.Bundle) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range b.Certificates() {
		pool.AddCert(certificate)
	}
	return pool
}

// fixedTexts are all that messages about a ca.crt are made of, but for numbers.
var fixedTexts = regexp.MustCompile(`^(` + strings.Join([]string{
	`certificate # of #: (malformed|negative serial number|unsupported elliptic curve|inner and outer signature algorithm identifiers don't match|` +
		`invalid RDNSequence: invalid attribute value: invalid (PrintableString|UTF-8 string|IA5String)|RSA key missing NULL parameters|` +
		`invalid RSA (public key|modulus|public exponent)|RSA (modulus|public exponent) is not a positive number|invalid ECDSA parameters|` +
		`invalid basic constraints|invalid key usage|invalid version|malformed (UTCTime|GeneralizedTime)|unsupported time format|` +
		`SAN dNSName is malformed|invalid subject alternative names|authority key identifier incorrectly marked critical|` +
		`subject key identifier incorrectly marked critical|authority info access incorrectly marked critical|` +
		`(invalid NameConstraints|empty name constraints) extension)(; |$)`,
	`and # more$`,
	`ca\.crt has # bytes, more than #$`,
	`ca\.crt (has|holds) `,
	`an END line without a BEGIN line before it, in line #$`,
	`an END line that does not fit the BEGIN line before it, in line #$`,
	`no END line for the block that begins in line #(: the next begins in line #)?$`,
	`no line end between the END of one block and the BEGIN of the next, in line #$`,
	`a BEGIN line that does not end as one, line #$`,
	`a byte order mark before a BEGIN line, in line #$`,
	`an indented BEGIN or END line, line #$`,
	`a quotation mark before a BEGIN or END line, in line #$`,
	`(\\n as two characters|CR alone) where a line should end, in line #$`,
	`a whole block in one line, line #$`,
	`line ends of two CR and an LF, from line # on$`,
	`a block # that cannot be decoded: (there is a character in line # that base64 does not have|its base64 is not complete)$`,
	`PEM headers in block #$`, `a block # in which lines are missing$`,
	`something else than a certificate in block #, although its type is CERTIFICATE$`,
	`a block of another type than CERTIFICATE, in line #$`,
	`a block of type "((ENCRYPTED |RSA |EC |DSA |OPENSSH )?PRIVATE KEY|(RSA )?PUBLIC KEY|(TRUSTED|X509|ATTRIBUTE) CERTIFICATE|(NEW )?CERTIFICATE REQUEST|X509 CRL|PKCS7|CMS|(DH|EC) PARAMETERS)"$`,
	`no certificate(: (it is (empty|DER, not PEM|binary, not PEM|encoded in base64 twice|text in UTF-16, as PowerShell writes it|only the body of one, without BEGIN line and END line)|it mentions one, but not in a BEGIN line))?$`,
	`no certificate that the API server can read: `,
	// Remedies.
	`only PEM blocks of type CERTIFICATE may be in it$`, `restore the lines that are missing or damaged$`, `write each line of the PEM on a line of its own$`,
	`under data its value is base64 of the PEM, under stringData the PEM itself$`, `convert it to PEM, for example with openssl x509$`,
	`save it as plain text, without a byte order mark$`, `put a line end after each certificate$`, `let the lines begin without white space$`,
	`write it without quotation marks$`, `let its issuer fill it in$`, `put it between BEGIN and END line$`, `have it issued anew$`,
	`a BEGIN line begins and ends with five hyphens$`, `keep only the CA certificates that are needed$`,
}, `|`) + `)+$`)

var number = regexp.MustCompile(`\d+`)

// fixedText reports whether text has nothing in it but what fixedTexts allow.
func fixedText(text string) bool {
	text = strings.ReplaceAll(text, "base64", "base!") // not a number that stands for something
	text = number.ReplaceAllString(text, "#")
	for _, word := range [][2]string{{"base!", "base64"}, {"UTF-#", "UTF-16"}, {"PKCS#", "PKCS7"}, {"X#", "X509"}} {
		text = strings.ReplaceAll(text, word[0], word[1])
	}
	return fixedTexts.MatchString(strings.ReplaceAll(text, "openssl x#", "openssl x509"))
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
		if strict, _, problem := cabundle.ParseSource(caBundle); problem == nil && strict.Digest() != lenient.Digest() {
			t.Error("a strict reading has other certificates")
		}
		if bytes.IndexByte(caBundle, ':') < 0 { // the API server passes over blocks with headers, of which the certificates are kept
			taken := x509.NewCertPool()
			if taken.AppendCertsFromPEM(caBundle); !taken.Equal(pool(lenient)) {
				t.Error("the API server takes other certificates from it")
			}
		}
	})
}
