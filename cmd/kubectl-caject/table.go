package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle/survey"
)

// print shows what was found, and on stderr what could not be read.
func (s *statusCommand) print(found *survey.Survey) error {
	switch s.output {
	case "json", "yaml":
		return printData(s.Out, s.output, found)
	case "name":
		for i := range found.Targets {
			finding := &found.Targets[i]
			resource := finding.Kind.Resource()
			fmt.Fprintf(s.Out, "%s.%s/%s\n", strings.ToLower(string(finding.Kind)), resource.Group, finding.Name)
		}
		return nil
	}
	for _, gap := range found.Gaps {
		fmt.Fprintln(s.ErrOut, "note:", gap)
	}
	if len(found.Targets) == 0 {
		_, err := fmt.Fprintln(s.ErrOut, "No annotated objects found.")
		return err
	}
	t := terminalOf(s.Out)
	if err := printTable(s.Out, t, found.Targets, s.output == "wide"); err != nil || s.output == "wide" {
		return err
	}
	_, err := io.WriteString(s.Out, problems(t, found.Targets))
	return err
}

// printData prints data as JSON or YAML.
func printData(out io.Writer, format string, data any) error {
	encoded, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return err
	}
	encoded = append(encoded, '\n')
	if format == "yaml" {
		if encoded, err = yaml.JSONToYAML(encoded); err != nil {
			return err
		}
	}
	_, err = out.Write(encoded)
	return err
}

// printTable prints a line for each finding.
func printTable(out io.Writer, t terminal, findings []survey.Finding, wide bool) error {
	writer := printers.GetNewTabWriter(out)
	columns := []string{"KIND", "NAME", "SOURCE", t.paint(plain, "STATE"), "EXPIRES", "AGE"}
	if wide {
		columns = append(columns, "REASON", "MESSAGE")
	}
	fmt.Fprintln(writer, strings.Join(columns, "\t"))
	for i := range findings {
		f := &findings[i]
		cells := []string{string(f.Kind), f.Name, orNone(f.Source), t.paint(colourOf(f.State), string(f.State)), in(f.Expires), age(f.Created)}
		if wide {
			cells = append(cells, orNone(string(f.Reason)), orNone(sentence(f)))
		}
		fmt.Fprintln(writer, strings.Join(cells, "\t"))
	}
	return writer.Flush()
}

// problems says in words what is not right, and the way out; and how many objects are.
func problems(t terminal, findings []survey.Finding) string {
	var out strings.Builder
	wrong := 0
	for i := range findings {
		f := &findings[i]
		if f.State.Right() && (f.Message == "" || f.State == survey.NotInjectable) {
			continue
		}
		heading := string(f.State)
		if f.Reason != "" {
			heading = string(f.Reason)
		}
		out.WriteString("\n" + t.wrap("", f.Target().String()+": "+t.paint(colourOf(f.State), heading)))
		out.WriteString(t.wrap("  ", f.Message))
		if f.Remedy != "" {
			out.WriteString(t.wrap("  ", "way out: "+f.Remedy))
		}
		if !f.State.Right() {
			wrong++
		}
	}
	if wrong > 0 {
		fmt.Fprintf(&out, "\n%d of %d are not right.\n", wrong, len(findings))
	}
	return out.String()
}

func colourOf(state survey.State) string {
	switch state {
	case survey.Injected:
		return green
	case survey.Refused, survey.Absent:
		return red
	case survey.Pending, survey.Unverified:
		return yellow
	}
	return plain
}

// sentence is message and remedy in one line.
func sentence(f *survey.Finding) string {
	if f.Remedy == "" {
		return f.Message
	}
	return f.Message + " (" + f.Remedy + ")"
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}

// in says how long it is until at.
func in(at *time.Time) string {
	switch {
	case at == nil:
		return "<none>"
	case time.Now().After(*at):
		return "expired"
	}
	return duration.HumanDuration(time.Until(*at))
}

// age says how long at is past.
func age(at *time.Time) string {
	if at == nil {
		return "<none>"
	}
	return duration.HumanDuration(time.Since(*at))
}
