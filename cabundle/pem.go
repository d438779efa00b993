package cabundle

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"
)

const certificateBlock = "CERTIFICATE"

// The marks of PEM. A line that begins with one of the first two belongs to a block, wherever it stands.
var (
	beginMark = []byte("-----BEGIN")
	endMark   = []byte("-----END")
	hyphens   = []byte("-----")
)

// fault is why something is not read as PEM. Neither of its texts has anything of what was to be read in it, but numbers of lines and
// blocks, and names of types that are known.
type fault struct {
	detail string // without a subject: "holds no certificate"
	remedy string
}

func faultf(remedy, format string, args ...any) *fault {
	return &fault{detail: fmt.Sprintf(format, args...), remedy: remedy}
}

// pemBlock is what stands from a BEGIN line to its END line.
type pemBlock struct {
	label string // of both lines, such as CERTIFICATE
	line  int    // the number of the first line
	text  []byte // all lines
}

// scanPEM returns the blocks of text. It goes by lines, as [pem.Decode] does: what stands between blocks is a comment, whatever it
// mentions. Where pem.Decode passes over something that was meant to be a block, there is a fault, so that both find the same blocks in
// what has none.
func scanPEM(text []byte) ([]pemBlock, *fault) {
	var blocks []pemBlock
	var open *pemBlock
	for number, rest := 1, text; len(rest) > 0; number++ {
		raw, after, _ := bytes.Cut(rest, []byte("\n"))
		line := bytes.TrimRight(raw, " \t\r")
		switch {
		case open == nil:
			label, wrong := beginning(line, number)
			if wrong != nil {
				return nil, wrong
			}
			if label != nil {
				open = &pemBlock{label: string(label), line: number, text: rest}
			}
		default:
			ended, wrong := open.ending(line, number)
			if wrong != nil {
				return nil, wrong
			}
			if ended {
				open.text = open.text[:len(open.text)-len(after)]
				blocks, open = append(blocks, *open), nil
			}
		}
		rest = after
	}
	if open != nil {
		return nil, faultf(restore, "has no END line for the block that begins in line %d", open.line)
	}
	return blocks, nil
}

// beginning returns the label of a BEGIN line, or nil if line is text between blocks.
func beginning(line []byte, number int) (label []byte, wrong *fault) {
	if bytes.HasPrefix(line, endMark) {
		return nil, faultf(restore, "has an END line without a BEGIN line before it, in line %d", number)
	}
	if !bytes.HasPrefix(line, beginMark) {
		return nil, disguised(line, number)
	}
	label, ok := bytes.CutPrefix(line, []byte("-----BEGIN "))
	if ok {
		label, ok = bytes.CutSuffix(label, hyphens)
	}
	if !ok || bytes.Contains(label, hyphens) {
		return nil, joined(line, number)
	}
	return label, nil
}

// ending reports whether line is the END line of b.
func (b *pemBlock) ending(line []byte, number int) (ended bool, wrong *fault) {
	switch {
	case bytes.HasPrefix(line, beginMark):
		return false, faultf(restore, "has no END line for the block that begins in line %d: the next begins in line %d", b.line, number)
	case !bytes.HasPrefix(line, endMark):
		return false, disguised(line, number)
	case string(line) == "-----END "+b.label+"-----":
		return true, nil
	case bytes.Contains(line, beginMark):
		return false, faultf("put a line end after each certificate",
			"has no line end between the END of one block and the BEGIN of the next, in line %d", number)
	}
	return false, faultf(restore, "has an END line that does not fit the BEGIN line before it, in line %d", number)
}

// decode returns what is in b, the block with the given number, if it is a certificate in form. The API server passes over blocks of
// other types and those with headers.
func (b *pemBlock) decode(number int) ([]byte, *fault) {
	if b.label != certificateBlock {
		if !slices.Contains(otherTypes, b.label) {
			return nil, faultf(onlyCertificates, "holds a block of another type than CERTIFICATE, in line %d", b.line)
		}
		return nil, faultf(onlyCertificates, "holds a block of type %q", b.label)
	}
	block, _ := pem.Decode(b.text)
	switch {
	case block == nil:
		return nil, b.damage(number)
	case len(block.Headers) > 0:
		return nil, faultf(onlyCertificates, "has PEM headers in block %d", number)
	case cutShort(block.Bytes):
		return nil, faultf(restore, "has a block %d in which lines are missing", number)
	case !certificateForm(block.Bytes):
		return nil, faultf(onlyCertificates, "holds something else than a certificate in block %d, although its type is CERTIFICATE", number)
	}
	return block.Bytes, nil
}
