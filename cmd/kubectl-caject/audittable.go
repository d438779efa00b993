package main

import (
	"fmt"
	"strings"

	"github.com/caject/caject/cabundle/audit"
	"github.com/caject/caject/cabundle/survey"
)

// narrowest is how wide the column of messages is at least: else they stand below.
const narrowest = 40

var severityColours = map[audit.Severity]string{audit.Error: red, audit.Warning: yellow, audit.Info: plain}

// issueTable has a line for each issue, the message wrapped in its column, and the way out below; where several in a row have the same
// one, below the last. If the terminal is too narrow for that column, messages stand below, too.
func issueTable(t terminal, issues []audit.Issue) string {
	if len(issues) == 0 {
		return ""
	}
	heads := [][]string{{"SEVERITY", "CODE", "OBJECT"}}
	for _, one := range issues {
		heads = append(heads, []string{one.Severity.String(), string(one.Code), one.Object})
	}
	lines, column := aligned(heads)
	indent := strings.Repeat(" ", column)
	below := t.width > 0 && t.width-column < narrowest
	if below {
		indent = "    "
	}
	row := func(head, message string) string {
		text := t.wrap(indent, message)
		if below {
			return strings.TrimRight(head, " ") + "\n" + text
		}
		return head + strings.TrimPrefix(text, indent)
	}
	var out strings.Builder
	if below {
		out.WriteString(strings.TrimRight(lines[0], " ") + "\n")
	} else {
		out.WriteString(row(lines[0], "MESSAGE"))
	}
	for i := range issues {
		one := &issues[i]
		out.WriteString(row(t.paint(severityColours[one.Severity], lines[i+1]), issueMessage(one)))
		last := i == len(issues)-1 || issues[i+1].Code != one.Code || issues[i+1].Remedy != one.Remedy
		if one.Remedy != "" && last {
			out.WriteString(t.wrap(indent, "way out: "+one.Remedy))
		}
	}
	return out.String() + "\n"
}

// aligned returns a line for each row, all of the same width, three spaces behind the widest cells.
func aligned(rows [][]string) (lines []string, width int) {
	lines = make([]string, len(rows))
	for column := range rows[0] {
		widest := 0
		for _, row := range rows {
			widest = max(widest, len(row[column]))
		}
		for i, row := range rows {
			lines[i] += row[column] + strings.Repeat(" ", widest+3-len(row[column]))
		}
		width += widest + 3
	}
	return lines, width
}

// issueMessage is the message with what it is about: targets, and the place in a file.
func issueMessage(one *audit.Issue) string {
	const most = 2
	text := one.Message
	switch more := len(one.Targets) - most; {
	case more > 0:
		text += fmt.Sprintf("; for %s and %d more", strings.Join(one.Targets[:most], ", "), more)
	case len(one.Targets) > 0:
		text += "; for " + strings.Join(one.Targets, ", ")
	}
	if one.Where != "" {
		text += " (" + survey.Printable(one.Where) + ")"
	}
	return text
}
