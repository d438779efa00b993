package manifests

import "bytes"

// document is a part of a file, between lines of three hyphens.
type document struct {
	line   int // number of its first line in the file, from 1
	begins int // that of the first one with more than a comment
	text   []byte
}

// split returns the documents of a YAML file. A line that begins with three hyphens, or is three dots, is a mark wherever it stands
// (YAML 1.2, 9.1.2); what follows the hyphens in the same line belongs to the document.
func split(text []byte) []document {
	var documents []document
	open := document{line: 1}
	end := func(next int) {
		if open.begins > 0 {
			documents = append(documents, open)
		}
		open = document{line: next}
	}
	for number, rest := 1, text; len(rest) > 0; number++ {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		whole := rest[:len(rest)-len(after)]
		rest = after
		switch {
		case marks(line, "..."):
			end(number + 1)
			continue
		case marks(line, "---"):
			end(number)
			whole = append([]byte("   "), whole[len("---"):]...)
		case open.begins == 0 && bytes.HasPrefix(line, []byte("%")): // a directive
			whole = []byte("\n")
		}
		content := bytes.TrimSpace(whole)
		if open.begins == 0 && len(content) > 0 && content[0] != '#' {
			open.begins = number
		}
		open.text = append(open.text, whole...)
	}
	end(0)
	return documents
}

// marks reports whether line is the mark, with white space behind it or nothing.
func marks(line []byte, mark string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(mark))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r"), rest[0]) >= 0)
}
