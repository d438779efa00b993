package cabundle

import (
	"bytes"
	"encoding/base64"
	"unicode"
	"unicode/utf8"
)

// What to do about a fault.
const (
	onlyCertificates = "only PEM blocks of type CERTIFICATE may be in it"
	restore          = "restore the lines that are missing or damaged"
	lineEnds         = "write each line of the PEM on a line of its own"
	encodeOnce       = "under data its value is base64 of the PEM, under stringData the PEM itself"
	convert          = "convert it to PEM, for example with openssl x509"
	plainText        = "save it as plain text, without a byte order mark"
)

// otherTypes are those of other blocks that messages name: of RFC 7468, OpenSSL and OpenSSH.
var otherTypes = []string{
	"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY",
	"PUBLIC KEY", "RSA PUBLIC KEY", "TRUSTED CERTIFICATE", "X509 CERTIFICATE", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST",
	"X509 CRL", "PKCS7", "CMS", "DH PARAMETERS", "EC PARAMETERS", "ATTRIBUTE CERTIFICATE",
}

var (
	byteOrderMark = []byte("\ufeff")
	twoCharacters = []byte(`\n`)
)

// disguised returns what is wrong with a line that would begin or end a block but for what is before it, or nil.
func disguised(line []byte, number int) *fault {
	marked := func(line []byte) bool { return bytes.HasPrefix(line, beginMark) || bytes.HasPrefix(line, endMark) }
	without, mark := bytes.CutPrefix(line, byteOrderMark)
	switch {
	case mark && marked(without):
		return faultf(plainText, "has a byte order mark before a BEGIN line, in line %d", number)
	case marked(bytes.TrimLeftFunc(line, unicode.IsSpace)):
		return faultf("let the lines begin without white space", "has an indented BEGIN or END line, line %d", number)
	case marked(bytes.TrimLeft(line, "\"'`")):
		return faultf("write it without quotation marks", "has a quotation mark before a BEGIN or END line, in line %d", number)
	}
	return nil
}

// joined returns what is wrong with a line that begins as a BEGIN line does and does not end there.
func joined(line []byte, number int) *fault {
	switch {
	case bytes.Contains(line, twoCharacters):
		return faultf(lineEnds, `has \n as two characters where a line should end, in line %d`, number)
	case bytes.ContainsRune(line, '\r'):
		return faultf(lineEnds, "has CR alone where a line should end, in line %d", number)
	case bytes.Contains(line, endMark):
		return faultf(lineEnds, "has a whole block in one line, line %d", number)
	}
	return faultf(restore, "has a BEGIN line that does not end as one, line %d", number)
}

// damage returns why b, the block with the given number, cannot be decoded.
func (b *pemBlock) damage(number int) *fault {
	lines := bytes.Split(b.text, []byte("\n"))
	for i, line := range lines[1:] {
		at := b.line + 1 + i
		switch {
		case bytes.HasPrefix(line, endMark):
		case bytes.Contains(line, twoCharacters):
			return faultf(lineEnds, `has \n as two characters where a line should end, in line %d`, at)
		case bytes.ContainsFunc(line, notBase64):
			return faultf(restore, "has a block %d that cannot be decoded: there is a character in line %d that base64 does not have", number, at)
		}
	}
	if bytes.Contains(b.text, []byte("\r\r\n")) {
		return faultf(lineEnds, "has line ends of two CR and an LF, from line %d on", b.line)
	}
	return faultf(restore, "has a block %d that cannot be decoded: its base64 is not complete", number)
}

func notBase64(r rune) bool {
	switch {
	case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '+', r == '/', r == '=', r == ' ', r == '\t', r == '\r':
		return false
	}
	return true
}

// noBlock returns what text is that holds no PEM block.
func noBlock(text []byte) *fault {
	none := func(remedy, cause string) *fault { return faultf(remedy, "holds no certificate: %s", cause) }
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return none("let its issuer fill it in", "it is empty")
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return none(plainText, "it is text in UTF-16, as PowerShell writes it")
	case certificateForm(text):
		return none(convert, "it is DER, not PEM")
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		return none(convert, "it is binary, not PEM")
	}
	for inner := text; ; {
		decoded, ok := decodeBase64(inner)
		switch {
		case !ok && bytes.Contains(bytes.ToUpper(text), []byte("BEGIN CERTIFICATE")):
			return mentioned(text)
		case !ok:
			return faultf(onlyCertificates, "holds no certificate")
		case bytes.Contains(decoded, beginMark):
			return none(encodeOnce, "it is encoded in base64 twice")
		case certificateForm(decoded):
			return none("put it between BEGIN and END line", "it is only the body of one, without BEGIN line and END line")
		}
		inner = decoded
	}
}

// mentioned returns what text is that has the words of a BEGIN line, and none.
func mentioned(text []byte) *fault {
	if at := bytes.Index(text, beginMark); at >= 0 && !bytes.Contains(text[at:], []byte("\n")) {
		return joined(text[at:], 1+bytes.Count(text[:at], []byte("\n")))
	}
	return faultf("a BEGIN line begins and ends with five hyphens", "holds no certificate: it mentions one, but not in a BEGIN line")
}

// decodeBase64 returns what text, which may have white space in it, is the base64 of.
func decodeBase64(text []byte) (decoded []byte, ok bool) {
	text = bytes.Join(bytes.Fields(text), nil)
	decoded, err := base64.StdEncoding.AppendDecode(nil, text)
	return decoded, err == nil && len(decoded) > 0
}
