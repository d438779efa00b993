package main

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/caject/caject/cabundle/survey"
)

// maxShown is how many certificates of one place the text has. The data has all.
const maxShown = 20

// page is text for a terminal as it is written. What it is given is printed as survey.Printable has it: others may have written it.
type page struct {
	terminal
	strings.Builder
}

// line writes a line, broken into several where the terminal is narrow.
func (p *page) line(indent, format string, args ...any) {
	p.WriteString(p.wrap(indent, survey.Printable(fmt.Sprintf(format, args...))))
}

// marked writes a line with a mark before it, in colour.
func (p *page) marked(colour, mark, format string, args ...any) {
	p.WriteString(p.wrap("  ", p.paint(colour, mark)+" "+survey.Printable(fmt.Sprintf(format, args...))))
}

// way writes the way out, if there is one.
func (p *page) way(remedy string) {
	if remedy != "" {
		p.line("    ", "way out: %s", remedy)
	}
}

// inspected returns what an inspection has found, for people.
func inspected(t terminal, i *survey.Inspection) string {
	p := &page{terminal: t}
	if i.State != "" {
		p.WriteString(p.wrap("", survey.Printable(i.Object)+": "+p.paint(colourOf(i.State), string(i.State))))
	} else {
		p.line("", "%s", i.Object)
	}
	for _, link := range i.Chain {
		p.link(link)
	}
	for _, place := range i.Places {
		p.place(place)
	}
	if len(i.Certificates) > 0 {
		p.WriteString("\ncertificates\n")
		p.certificates(i.Certificates)
	}
	p.conditions(i.Conditions)
	p.targets(i.Targets)
	for _, dial := range i.Dials {
		p.dial(dial)
	}
	p.owners(i)
	p.events(i)
	for _, note := range i.Notes {
		p.WriteString("\n")
		p.line("", "note: %s", note)
	}
	return p.String()
}

func (p *page) link(link survey.Link) {
	detail := link.Detail
	if link.Reason != "" {
		detail = string(link.Reason) + ": " + detail
	}
	switch link.State {
	case survey.Holds:
		p.marked(green, "✓", "%s: %s", link.Name, detail)
	case survey.Broken:
		p.marked(red, "✗", "%s: %s", link.Name, detail)
	case survey.NotReached:
		p.marked(plain, "-", "%s: %s", link.Name, strings.TrimSuffix("not reached; "+detail, "; "))
	default:
		p.marked(yellow, "?", "%s: %s", link.Name, detail)
	}
	p.way(link.Remedy)
}

func (p *page) place(place survey.Place) {
	p.WriteString("\n")
	size := "1 byte"
	if place.Bytes != 1 {
		size = fmt.Sprintf("%d bytes", place.Bytes)
	}
	p.line("", "%s, %s", among("caBundle of", "caBundle", place.Webhooks), size)
	if place.Fault != "" {
		p.marked(red, "✗", "%s", place.Fault)
	}
	p.certificates(place.Certificates)
}

// among returns text and the names of webhooks, or alone if there are none.
func among(text, alone string, webhooks []string) string {
	const most = 3
	switch {
	case len(webhooks) == 0:
		return alone
	case len(webhooks) > most:
		return fmt.Sprintf("%s %s and %d more webhooks", text, strings.Join(webhooks[:most], ", "), len(webhooks)-most)
	}
	return text + " " + strings.Join(webhooks, ", ")
}

func (p *page) certificates(certificates []survey.Certificate) {
	for n := range certificates {
		if n == maxShown {
			p.line("  ", "and %d more certificates: --output yaml has all", len(certificates)-maxShown)
			return
		}
		p.certificate(&certificates[n])
	}
}

func (p *page) certificate(c *survey.Certificate) {
	if c.Subject == "" {
		p.line("  ", "%d: the API server cannot read it: %s", c.Number, c.Fault)
		p.line("     ", "SHA-256 %s", c.Fingerprint)
		return
	}
	issuer, ca := "itself", "no CA"
	if !c.SelfIssued {
		issuer = c.Issuer
	}
	if c.CA {
		ca = "CA"
	}
	p.line("  ", "%d: %s", c.Number, c.Subject)
	if c.Fault != "" {
		p.line("     ", "%s", c.Fault)
	}
	if c.Origin != "" {
		p.line("     ", "%s", c.Origin)
	}
	p.line("     ", "issued by %s; %s, %s, signed with %s", issuer, ca, c.Key, c.SignatureAlgorithm)
	p.line("     ", "valid %s to %s: %s", stamp(*c.NotBefore), stamp(*c.NotAfter), c.Validity)
	if len(c.Names) > 0 {
		p.line("     ", "for %s", strings.Join(c.Names, ", "))
	}
	p.line("     ", "serial %s, SHA-256 %s", c.Serial, c.Fingerprint)
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

func (p *page) conditions(conditions []metav1.Condition) {
	if len(conditions) > 0 {
		p.WriteString("\nconditions\n")
	}
	for _, c := range conditions {
		p.line("  ", "%s=%s since %s: %s: %s", c.Type, c.Status, stamp(c.LastTransitionTime.Time), c.Reason, c.Message)
	}
}

func (p *page) targets(targets []survey.Finding) {
	if len(targets) > 0 {
		p.WriteString("\ntargets\n")
	}
	for n := range targets {
		f := &targets[n]
		p.WriteString(p.wrap("  ", survey.Printable(f.Target().String())+": "+p.paint(colourOf(f.State), string(f.State))))
		if !f.State.Right() {
			p.line("    ", "%s", sentence(f))
		}
	}
}

func (p *page) dial(d survey.Dial) {
	p.WriteString("\n")
	served := "served by " + d.Server
	p.line("", "%s", among(served+", for", served, d.Webhooks))
	if d.Way != "" {
		p.line("  ", "%s", d.Way)
	}
	p.certificates(d.Served)
	if d.Verdict == survey.Verified {
		p.marked(green, "✓", "%s: %s", d.Verdict, d.Message)
	} else {
		p.marked(red, "✗", "%s: %s", d.Verdict, d.Message)
	}
	p.way(d.Remedy)
}

func (p *page) owners(i *survey.Inspection) {
	if i.State == "" {
		return
	}
	if len(i.Owners) == 0 {
		p.WriteString("\n")
		p.line("", "owner of the caBundle: nobody, as it should be")
		return
	}
	p.WriteString("\nowners of the caBundle\n")
	for _, owner := range i.Owners {
		since := ""
		if owner.Time != nil {
			since = ", since " + stamp(*owner.Time)
		}
		p.marked(yellow, "!", "%s (%s)%s", owner.Manager, owner.Operation, since)
		p.line("    ", "%s", owner.Warning)
	}
}

func (p *page) events(i *survey.Inspection) {
	if len(i.Events) > 0 {
		p.WriteString("\nevents\n")
	}
	for _, event := range i.Events {
		times := ""
		if event.Count > 1 {
			times = fmt.Sprintf(", %d times", event.Count)
		}
		p.line("  ", "%s ago%s: %s %s: %s", duration.HumanDuration(i.At.Sub(event.Last)), times, event.Type, event.Reason, event.Message)
	}
}
