package oracle

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caject/caject/cabundle/cabundletest"
)

// content is what a ca.crt or a caBundle holds, as words with spaces between:
//
//	A B C D   a good certificate
//	S         the CA of the API server: see normalize
//	X Y       an expired one
//	N         one that is not valid yet
//	#         a comment
//	key       a private key
//	neg       a certificate that Go cannot parse, nor the API server: its serial number is negative
//	bad       a CERTIFICATE block that cannot be decoded
//	H hdr     a certificate, and the same with PEM headers
//	text      text that is no PEM
//	nl        a line end: alone it is the placeholder Cg==
//	cut       at the end: the last line end is missing
//	crlf      at the end: line ends are those of DOS
//	big       comments of 70 KiB
//
// The empty content is an absent or empty value.
type content string

// certificates are in the PEM that a content's words stand for.
var certificates = func() map[string][]byte {
	now := time.Now()
	all := map[string][]byte{}
	for _, name := range []string{"A", "B", "C", "D", "H", "S"} {
		all[name] = cabundletest.CA("oracle "+name, now.Add(-time.Hour), now.Add(24*time.Hour))
	}
	for _, name := range []string{"X", "Y"} {
		all[name] = cabundletest.CA("oracle "+name, now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	}
	all["N"] = cabundletest.CA("oracle N", now.Add(24*time.Hour), now.Add(48*time.Hour))
	return all
}()

var negative = cabundletest.NegativeSerial(certificates["D"])

var privateKey = cabundletest.PrivateKey()

// bytes returns the value.
func (c content) bytes() []byte {
	var out bytes.Buffer
	for _, word := range c.words() {
		switch word {
		case "#":
			out.WriteString("# Issued by us\n")
		case "key":
			out.Write(privateKey)
		case "neg":
			out.Write(negative)
		case "bad":
			out.WriteString("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
		case "hdr":
			block, _ := pem.Decode(certificates["H"])
			block.Headers = map[string]string{"Comment": "oracle"}
			_ = pem.Encode(&out, block) // to a buffer
		case "text":
			out.WriteString("not a certificate\n")
		case "nl":
			out.WriteString("\n")
		case "cut":
			out.Truncate(out.Len() - 1)
		case "crlf":
			dos := bytes.ReplaceAll(out.Bytes(), []byte("\n"), []byte("\r\n"))
			out.Reset()
			out.Write(dos)
		case "big":
			out.WriteString(strings.Repeat("# a long comment\n", 70<<10/17))
		default:
			certificate, ok := certificates[word]
			if !ok {
				panic(fmt.Sprintf("no such word: %q", word))
			}
			out.Write(certificate)
		}
	}
	return out.Bytes()
}

func (c content) words() []string { return strings.Fields(string(c)) }

func (c content) has(words ...string) bool {
	return slices.ContainsFunc(c.words(), func(word string) bool { return slices.Contains(words, word) })
}

// certificates returns those that a lenient reader finds, in order.
func (c content) certificates() []string {
	var names []string
	for _, word := range c.words() {
		if word == "hdr" {
			word = "H"
		}
		if certificates[word] != nil {
			names = append(names, word)
		}
	}
	return names
}

// strict reports that a strict reader accepts it, and leaves nothing out: certificates, and text between them.
func (c content) strict() bool {
	return len(c.certificates()) > 0 && !c.has("key", "neg", "bad", "hdr", "big")
}

// plain reports that it is its certificates as PEM and nothing else.
func (c content) plain() bool { return slices.Equal(c.words(), c.certificates()) }

// unexpired returns names without what has expired, and each once.
func unexpired(names []string) []string {
	var kept []string
	for _, name := range names {
		if name != "X" && name != "Y" && !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

func contentOf(names []string) content { return content(strings.Join(names, " ")) }
