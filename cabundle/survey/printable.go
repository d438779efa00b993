package survey

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPrintable is how long a text of somebody else's is shown, in characters.
const maxPrintable = 400

// Printable returns text that somebody else wrote, such as the subject of a certificate, as a terminal may get it: what is not a
// visible character is escaped as Go does, so that no control sequence gets through, and no text that runs from right to left
// disguises what is beside it. It is cut after 400 characters.
func Printable(text string) string {
	var out strings.Builder
	for n := 0; len(text) > 0; n++ {
		if n == maxPrintable {
			out.WriteString("…")
			break
		}
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1, r < utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case !unicode.IsPrint(r):
			fmt.Fprintf(&out, `\u{%x}`, r)
		default:
			out.WriteRune(r)
		}
		text = text[size:]
	}
	return out.String()
}
