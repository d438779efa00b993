package cabundletest

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"time"
)

// Content is a case of what a caBundle field can hold.
type Content struct {
	CABundle []byte
	// Empty is true if there is no certificate in it: it is the same as an absent one.
	Empty bool
	// Lines is true if it is empty, and the API server's policies cannot tell, for it has the two lines of a certificate.
	Lines bool
}

// Held returns cases of what a caBundle field can hold, for caject's own reading of it and for the expressions that the API server
// evaluates. The certificates are valid at now.
func Held(now time.Time) map[string]Content {
	certificate := CA("held", now.Add(-time.Hour), now.Add(time.Hour))
	half := certificate[:len(certificate)/2]
	last := certificate[len(certificate)/2:]
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	cases := map[string]Content{
		"nothing":                           {Empty: true},
		"a line end":                        {CABundle: []byte("\n"), Empty: true},
		"two line ends":                     {CABundle: []byte("\n\n"), Empty: true},
		"spaces and tabs":                   {CABundle: bytes.Repeat([]byte(" \t\r\n"), 100), Empty: true},
		"text":                              {CABundle: []byte("caBundle is filled in by cert-manager"), Empty: true},
		"text that is longer than a bundle": {CABundle: bytes.Repeat([]byte("no certificate "), 200), Empty: true},
		"a template":                        {CABundle: []byte("{{ .Values.caBundle }}"), Empty: true},
		"base64 of a certificate":           {CABundle: []byte(base64.StdEncoding.EncodeToString(certificate)), Empty: true},
		"base64 of base64":                  {CABundle: []byte(base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(certificate)))), Empty: true},
		"half a PEM block":                  {CABundle: half, Empty: true},
		"the other half":                    {CABundle: last, Empty: true},
		"half its first line":               {CABundle: certificate[10:], Empty: true},
		"a first line":                      {CABundle: []byte("-----BEGIN CERTIFICATE-----\n"), Empty: true},
		"a last line":                       {CABundle: []byte("-----END CERTIFICATE-----\n"), Empty: true},
		"a trusted certificate":             {CABundle: bytes.ReplaceAll(certificate, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")), Empty: true},
		"DER":                               {CABundle: decode(certificate), Empty: true},
		"a block that is no certificate":    {CABundle: junk, Empty: true, Lines: true},
		"one that Go cannot parse":          {CABundle: NegativeSerial(certificate), Empty: true, Lines: true},
		"one beside one that Go cannot":     {CABundle: append(NegativeSerial(certificate), certificate...)},
		"both lines the wrong way round":    {CABundle: append(bytes.Clone(last), half...), Empty: true, Lines: true},
		"a certificate":                     {CABundle: certificate},
		"two":                               {CABundle: append(bytes.Clone(certificate), certificate...)},
		"one without a last line end":       {CABundle: bytes.TrimSpace(certificate)},
		"one with line ends of Windows":     {CABundle: bytes.ReplaceAll(certificate, []byte("\n"), []byte("\r\n"))},
		"one beside a block that is none":   {CABundle: append(bytes.Clone(junk), certificate...)},
		"one beside a key":                  {CABundle: append(bytes.Clone(certificate), PrivateKey()...)},
	}
	for _, comment := range []string{"\n", "#\n", "##\n", "###\n"} {
		cases["one behind "+comment[:len(comment)-1]+" and a line end"] = Content{CABundle: append([]byte(comment), certificate...)}
		cases["one before "+comment[:len(comment)-1]+" and a line end"] = Content{CABundle: append(bytes.Clone(certificate), comment...)}
	}
	return cases
}

func decode(certificate []byte) []byte {
	block, _ := pem.Decode(certificate)
	return block.Bytes
}
