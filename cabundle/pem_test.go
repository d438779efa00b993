package cabundle

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/transport"

	"github.com/caject/caject/cabundle/cabundletest"
)

func TestParseSourceTakesCertificatesAndNothingElse(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	negative, curve := cabundletest.NegativeSerial(c), cabundletest.UnknownCurve(c)
	comment := []byte("# Put the CA between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----.\n")
	tests := map[string]struct {
		in      []byte
		want    []byte // PEM
		leftOut []string
	}{
		"one certificate":                     {in: a, want: a},
		"two certificates keep order":         {in: concat(b, a), want: concat(b, a)},
		"text around blocks is dropped":       {in: concat([]byte("# a\n"), a, []byte("# b\n"), b, []byte("\n\n")), want: concat(a, b)},
		"a comment that mentions a block":     {in: concat(comment, a, comment, b, comment), want: concat(a, b)},
		"a certificate in a comment":          {in: concat(a, []byte("# "), bytes.ReplaceAll(b, []byte("\n"), []byte("\n# ")), []byte("\n"), b), want: concat(a, b)},
		"a byte order mark before a comment":  {in: concat(byteOrderMark, []byte("# a\n"), a), want: a},
		"line ends of Windows":                {in: bytes.ReplaceAll(a, []byte("\n"), []byte("\r\n")), want: a},
		"no line end at the end":              {in: bytes.TrimSpace(a), want: a},
		"white space at the end of lines":     {in: bytes.ReplaceAll(a, []byte("\n"), []byte(" \t\n")), want: a},
		"an indented body":                    {in: bytes.ReplaceAll(a, []byte("\nMII"), []byte("\n  MII")), want: a},
		"a negative serial number, beside":    {in: concat(a, negative, b), want: concat(a, b), leftOut: []string{"certificate 2 of 3: negative serial number"}},
		"a curve that Go does not know":       {in: concat(curve, a), want: a, leftOut: []string{"certificate 1 of 2: unsupported elliptic curve"}},
		"several that Go cannot parse":        {in: concat(curve, a, negative), want: a, leftOut: []string{"certificate 1 of 3: unsupported elliptic curve", "certificate 3 of 3: negative serial number"}},
		"expired ones, for others to see":     {in: expiredCA("old"), want: nil},
		"the same certificate several times":  {in: concat(a, a), want: concat(a, a)},
		"a block without an empty line after": {in: concat(a, b, c), want: concat(a, b, c)},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			got, leftOut, problem := ParseSource(test.in)
			if problem != nil {
				t.Fatalf("refused: %v", problem)
			}
			if test.want != nil && !bytes.Equal(got.PEM(), test.want) {
				t.Error(cmp.Diff(string(test.want), string(got.PEM())))
			}
			if diff := cmp.Diff(test.leftOut, leftOut); diff != "" {
				t.Error(diff)
			}
			if !apiServerPool(t, test.in).Equal(pool(got)) {
				t.Error("the API server takes other certificates from it")
			}
		})
	}
}

// apiServerPool returns what the API server trusts if caBundle is in a webhook configuration.
func apiServerPool(t *testing.T, caBundle []byte) *x509.CertPool {
	t.Helper()
	config, err := transport.TLSConfigFor(&transport.Config{TLS: transport.TLSConfig{CAData: caBundle}})
	if err != nil {
		t.Fatal(err)
	}
	return config.RootCAs
}

func pool(b Bundle) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range b.Certificates() {
		pool.AddCert(certificate)
	}
	return pool
}

func TestParseSourceSaysWhatIsWrong(t *testing.T) {
	a, b := ca("a"), ca("b")
	block, _ := pem.Decode(a)
	body := base64.StdEncoding.EncodeToString(block.Bytes)
	lines := bytes.Count(a, []byte("\n"))
	replaced := func(in []byte, old, new string) []byte { return bytes.ReplaceAll(in, []byte(old), []byte(new)) }
	typed := func(label string) []byte { return replaced(a, "CERTIFICATE", label) }
	certificateOf := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	key, _ := pem.Decode(cabundletest.PrivateKey())
	tests := map[string]struct {
		in   []byte
		want string // what follows "ca.crt "
	}{
		"a private key":                    {cabundletest.PrivateKey(), `holds a block of type "EC PRIVATE KEY"`},
		"a private key behind":             {concat(a, cabundletest.PrivateKey()), `holds a block of type "EC PRIVATE KEY"`},
		"a private key that is damaged":    {concat(a, []byte("-----BEGIN EC PRIVATE KEY-----\n!!!\n-----END EC PRIVATE KEY-----\n")), `holds a block of type "EC PRIVATE KEY"`},
		"a private key as a certificate":   {concat(a, certificateOf(key.Bytes)), "holds something else than a certificate in block 2, although its type is CERTIFICATE"},
		"a public key":                     {typed("PUBLIC KEY"), `holds a block of type "PUBLIC KEY"`},
		"a trusted certificate of OpenSSL": {concat(a, typed("TRUSTED CERTIFICATE")), `holds a block of type "TRUSTED CERTIFICATE"`},
		"a type that nobody knows":         {concat(a, typed("hunter2")), fmt.Sprintf("holds a block of another type than CERTIFICATE, in line %d", lines+1)},
		"headers in a block":               {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"k": "v"}, Bytes: block.Bytes}), "has PEM headers in block 1"},
		"something else in a block":        {certificateOf([]byte("x")), "holds something else than a certificate in block 1, although its type is CERTIFICATE"},
		"an empty block":                   {concat(a, certificateOf(nil)), "holds something else than a certificate in block 2, although its type is CERTIFICATE"},
		"two certificates in one block":    {certificateOf(concat(block.Bytes, block.Bytes)), "holds something else than a certificate in block 1, although its type is CERTIFICATE"},
		"nothing that Go can parse":        {cabundletest.NegativeSerial(a), "holds no certificate that the API server can read: certificate 1 of 1: negative serial number"},
		"nothing that Go can parse, often": {bytes.Repeat(cabundletest.NegativeSerial(a), 5), "holds no certificate that the API server can read: certificate 1 of 5: negative serial number; certificate 2 of 5: negative serial number; certificate 3 of 5: negative serial number; and 2 more"},

		"nothing":                        {nil, "holds no certificate: it is empty"},
		"white space":                    {[]byte(" \n\t\n"), "holds no certificate: it is empty"},
		"a great deal of white space":    {bytes.Repeat([]byte("\n"), MaxSourceBytes), "holds no certificate: it is empty"},
		"text":                           {[]byte("to be filled in later"), "holds no certificate"},
		"DER":                            {block.Bytes, "holds no certificate: it is DER, not PEM"},
		"a keystore":                     {[]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02"), "holds no certificate: it is binary, not PEM"},
		"only the body":                  {[]byte(body), "holds no certificate: it is only the body of one, without BEGIN line and END line"},
		"only the body, in lines":        {a[len("-----BEGIN CERTIFICATE-----\n") : len(a)-len("-----END CERTIFICATE-----\n")], "holds no certificate: it is only the body of one, without BEGIN line and END line"},
		"encoded twice":                  {[]byte(base64.StdEncoding.EncodeToString(a) + "\n"), "holds no certificate: it is encoded in base64 twice"},
		"encoded thrice":                 {[]byte(base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(a)))), "holds no certificate: it is encoded in base64 twice"},
		"UTF-16":                         {inUTF16(string(a)), "holds no certificate: it is text in UTF-16, as PowerShell writes it"},
		"long hyphens":                   {replaced(a, "-----", "—"), "holds no certificate: it mentions one, but not in a BEGIN line"},
		"four hyphens":                   {replaced(a, "-----", "----"), "holds no certificate: it mentions one, but not in a BEGIN line"},
		"in small letters":               {bytes.ToLower(a), "holds no certificate: it mentions one, but not in a BEGIN line"},
		"four hyphens behind":            {replaced(a, "-----\n", "----\n"), "has a BEGIN line that does not end as one, line 1"},
		"a byte order mark":              {concat(byteOrderMark, a), "has a byte order mark before a BEGIN line, in line 1"},
		"a byte order mark amid":         {concat(a, byteOrderMark, b), fmt.Sprintf("has a byte order mark before a BEGIN line, in line %d", lines+1)},
		"indentation":                    {concat([]byte("    "), replaced(a, "\n", "\n    ")), "has an indented BEGIN or END line, line 1"},
		"indentation from line 2 on":     {replaced(a, "\n", "\n  "), fmt.Sprintf("has an indented BEGIN or END line, line %d", lines)},
		"quotation marks":                {concat([]byte(`"`), a, []byte(`"`)), "has a quotation mark before a BEGIN or END line, in line 1"},
		`\n as two characters`:           {replaced(a, "\n", `\n`), `has \n as two characters where a line should end, in line 1`},
		`\n as two characters, behind`:   {concat(a, replaced(b, "\n", `\n`)), fmt.Sprintf(`has \n as two characters where a line should end, in line %d`, lines+1)},
		`\n as two characters, #`:        {concat([]byte(`# my CA\n`), replaced(a, "\n", `\n`)), `has \n as two characters where a line should end, in line 1`},
		`\n as two characters, inside`:   {replaced(a, "\nMII", "\n"+`\nMII`), `has \n as two characters where a line should end, in line 2`},
		"line ends of CR alone":          {replaced(a, "\n", "\r"), "has CR alone where a line should end, in line 1"},
		"line ends of CR alone, comment": {concat([]byte("# my CA\r"), replaced(a, "\n", "\r")), "has CR alone where a line should end, in line 1"},
		"line ends of CR CR LF":          {replaced(a, "\n", "\r\r\n"), "has line ends of two CR and an LF, from line 1 on"},
		"spaces for line ends":           {replaced(a, "\n", " "), "has a whole block in one line, line 1"},
		"no line ends":                   {replaced(a, "\n", ""), "has a whole block in one line, line 1"},
		"no line end between two":        {concat(bytes.TrimSpace(a), b), fmt.Sprintf("has no line end between the END of one block and the BEGIN of the next, in line %d", lines)},
		"no line end behind a comment":   {concat([]byte("# my CA:"), a), fmt.Sprintf("has an END line without a BEGIN line before it, in line %d", lines)},
		"no BEGIN line":                  {a[len("-----BEGIN CERTIFICATE-----\n"):], fmt.Sprintf("has an END line without a BEGIN line before it, in line %d", lines-1)},
		"no END line":                    {a[:len(a)-len("-----END CERTIFICATE-----\n")], "has no END line for the block that begins in line 1"},
		"half an END line":               {a[:len(a)-10], fmt.Sprintf("has an END line that does not fit the BEGIN line before it, in line %d", lines)},
		"no END line behind":             {concat(a, b[:len(b)-30]), fmt.Sprintf("has no END line for the block that begins in line %d", lines+1)},
		"no END line amid":               {concat(a[:len(a)-30], []byte("\n"), b), "has no END line for the block that begins in line 1: the next begins in line"},
		"an END line of something else":  {concat(a[:len(a)-len("CERTIFICATE-----\n")], []byte("PRIVATE KEY-----\n")), fmt.Sprintf("has an END line that does not fit the BEGIN line before it, in line %d", lines)},
		"text behind an END line":        {concat(bytes.TrimSpace(a), []byte(" # my CA\n")), fmt.Sprintf("has an END line that does not fit the BEGIN line before it, in line %d", lines)},
		"a character that is no base64":  {concat(a, replaced(b, "\nMII", "\n…\nMII")), fmt.Sprintf("has a block 2 that cannot be decoded: there is a character in line %d that base64 does not have", lines+2)},
		"half a body":                    {concat(a[:102], []byte("\n-----END CERTIFICATE-----\n")), "has a block 1 that cannot be decoded: its base64 is not complete"},
		"a line that is missing":         {concat(a, b[:92], []byte("\n-----END CERTIFICATE-----\n")), "has a block 2 in which lines are missing"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			got, leftOut, problem := ParseSource(test.in)
			if problem == nil || problem.Reason != SourceInvalid || !strings.HasPrefix(problem.Detail, "ca.crt "+test.want) || problem.Remedy == "" {
				t.Errorf("it is %+v\nnot ca.crt %s", problem, test.want)
			}
			if !got.Empty() || leftOut != nil {
				t.Error("a refused source gave certificates")
			}
		})
	}
}

func inUTF16(text string) []byte {
	out := []byte("\xff\xfe")
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

func TestASourceIsNotLargerThanItMayBe(t *testing.T) {
	a := ca("a")
	for sentence, in := range map[string][]byte{
		"certificates":                    bytes.Repeat(a, MaxSourceBytes/len(a)+1),
		"too large once it has line ends": singleLines(MaxSourceBytes - 100),
	} {
		_, _, problem := ParseSource(in)
		if problem == nil || problem.Reason != SourceTooLarge || !strings.Contains(problem.Detail, "more than 65536") {
			t.Errorf("%s: %+v", sentence, problem)
		}
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

func TestWhatGoCannotParseHasTheFormOfACertificate(t *testing.T) {
	decoded := func(in []byte) []byte { block, _ := pem.Decode(in); return block.Bytes }
	certificate := decoded(ca("a"))
	tests := map[string]struct {
		der  []byte
		want bool
	}{
		"a certificate":                   {certificate, true},
		"with a negative serial number":   {decoded(cabundletest.NegativeSerial(ca("a"))), true},
		"with a curve that Go knows not":  {decoded(cabundletest.UnknownCurve(ca("a"))), true},
		"a request":                       {cabundletest.Request(), false},
		"a private key":                   {decoded(cabundletest.PrivateKey()), false},
		"a certificate and more":          {append(bytes.Clone(certificate), 0), false},
		"a certificate and another":       {concat(certificate, certificate), false},
		"half a certificate":              {certificate[:len(certificate)/2], false},
		"an empty sequence":               {[]byte{0x30, 0}, false},
		"nothing":                         {nil, false},
		"a certificate in a second one":   {concat([]byte{0x30, 0x82, byte(len(certificate) >> 8), byte(len(certificate))}, certificate), false},
		"a sequence of three empty parts": {[]byte{0x30, 7, 0x30, 0, 0x30, 0, 3, 1, 0}, false},
	}
	for sentence, test := range tests {
		if got := certificateForm(test.der); got != test.want {
			t.Errorf("%s: %v", sentence, got)
		}
	}
}

func TestLeftOutMessageIsShort(t *testing.T) {
	leftOut := make([]string, 400)
	for i := range leftOut {
		leftOut[i] = fmt.Sprintf("certificate %d of 400: malformed", i+1)
	}
	want := "left out of the bundle, since the API server cannot read it either: certificate 1 of 400: malformed; certificate 2 of 400: malformed; " +
		"certificate 3 of 400: malformed; and 397 more (have it issued anew, or take it out of ca.crt)"
	if got := LeftOutMessage(leftOut); got != want {
		t.Errorf("it is %q", got)
	}
}
