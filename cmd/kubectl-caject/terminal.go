package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is where the output goes.
type terminal struct {
	is     bool // a terminal
	colour bool
	width  int // in columns; 0 if it is no terminal
}

// fileDescriptor is what files have.
type fileDescriptor interface{ Fd() uintptr }

// terminalOf says what out is. NO_COLOR (no-color.org) and TERM=dumb are followed.
func terminalOf(out io.Writer) terminal {
	file, ok := out.(fileDescriptor)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return terminal{}
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return terminal{is: true, colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", width: width}
}

// The colours. All have the same length, so that columns stay in line.
const (
	plain  = "\x1b[39m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[39m"
)

// paint colours text.
func (t terminal) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return colour + text + reset
}

// wrap breaks text into lines that begin with indent and fit the terminal; words that are longer stay whole.
func (t terminal) wrap(indent, text string) string {
	if t.width == 0 {
		return indent + text + "\n"
	}
	var out strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == indent:
			line += word
		case len(line)+1+len(word) <= t.width:
			line += " " + word
		default:
			out.WriteString(line + "\n")
			line = indent + word
		}
	}
	return out.String() + line + "\n"
}

// cut shortens a line to what fits the terminal.
func (t terminal) cut(line string) string {
	if t.width == 0 || len(line) <= t.width {
		return line
	}
	return strings.ToValidUTF8(line[:max(0, t.width-len("…"))], "") + "…"
}
