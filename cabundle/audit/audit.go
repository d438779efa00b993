package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// DefaultExpiresWithin is from how long before it a source counts as expiring.
const DefaultExpiresWithin = 30 * 24 * time.Hour

// Input is what there is to look at.
type Input struct {
	Now time.Time
	// Targets are those that ask for a caBundle.
	Targets []survey.Finding
	// ExpiresWithin is from how long before it a source counts as expiring.
	ExpiresWithin time.Duration

	// Published are all CABundles by their source, if Targets are all that there are; else nil.
	Published map[string]*v1alpha1.CABundle
	// Services are those that targets call, by namespace/name, as far as they are known.
	Services map[string]survey.Service
	// Grants are what caject may do, as far as it is known.
	Grants []survey.Grant

	// Manifests is not nil if it is not a cluster that was looked at.
	Manifests *Manifests
}

// Manifests is what is known of files beside the objects in them.
type Manifests struct {
	// Places are where the Targets stand, file:line, one for each.
	Places []string
	// Broken are, of each of the Targets, the places for a caBundle that hold no base64; "" for kinds that have one.
	Broken [][]string
	// Made are the sources whose Secret is not there, and is made by a Certificate that is.
	Made map[cabundle.Reference]bool
}

// Issue is what a check says.
type Issue struct {
	Severity Severity `json:"severity"`
	Code     Code     `json:"code"`
	// Object is kind/name of a target, secret/namespace/name or the like of a source, or a role.
	Object string `json:"object"`
	// Message says what is so, and Remedy the way out. Neither has a full stop.
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
	// Targets are those that name a source.
	Targets []string `json:"targets,omitempty"`
	// Where is file:line, of manifests.
	Where string `json:"where,omitempty"`
	// Link leads to more about the code.
	Link string `json:"link"`
}

// issue returns an Issue of the code's own severity. What others have written in it is made fit for a terminal.
func issue(code Code, object, message, remedy string) Issue {
	return Issue{
		Severity: code.Severity(), Code: code, Object: survey.Printable(object),
		Message: survey.Printable(message), Remedy: survey.Printable(remedy), Link: code.Link(),
	}
}

// as returns i with another severity.
func (i Issue) as(severity Severity) Issue {
	i.Severity = severity
	return i
}

// Run has all checks look at in. The worst comes first; of two runs on the same Input the issues are the same, in the same order.
func Run(in Input) []Issue {
	issues := []Issue{} // in JSON it is a list
	for i := range in.Targets {
		found := in.target(&in.Targets[i])
		if in.Manifests != nil {
			found = append(found, in.Manifests.notBase64(i, &in.Targets[i])...)
			for at := range found {
				found[at].Where = in.Manifests.Places[i]
			}
		}
		issues = append(issues, found...)
	}
	issues = append(issues, in.sources()...)
	issues = append(issues, in.unused()...)
	issues = append(issues, rights(in.Grants)...)
	slices.SortStableFunc(issues, func(a, b Issue) int {
		return cmp.Or(-cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Object, b.Object),
			cmp.Compare(a.Where, b.Where), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(issues, func(a, b Issue) bool {
		return a.Code == b.Code && a.Object == b.Object && a.Where == b.Where && a.Message == b.Message
	})
}

// Gaps says what is not known of sources since the caller may not read them.
func (in Input) Gaps() []string {
	var gaps []string
	for i := range in.Targets {
		known := &in.Targets[i].Known
		problem := known.Reading.Problem
		if problem == nil || problem.Reason != cabundle.SourceForbidden {
			continue
		}
		gap := problem.Detail + ": what it holds is not known"
		if known.Published != nil {
			gap = problem.Detail + ": it is judged by what caject publishes of it"
		}
		gaps = append(gaps, survey.Printable(gap))
	}
	slices.Sort(gaps)
	return slices.Compact(gaps)
}

// Worst returns the worst severity among issues; 0 if there are none.
func Worst(issues []Issue) Severity {
	var worst Severity
	for _, one := range issues {
		worst = max(worst, one.Severity)
	}
	return worst
}

// Summary says in one line how many issues there are, of how many objects.
func Summary(issues []Issue, objects, ignored int) string {
	number := map[Severity]int{}
	for _, one := range issues {
		number[one.Severity]++
	}
	text := fmt.Sprintf("%s, %s, %s in %s", count(number[Error], "error"), count(number[Warning], "warning"),
		count(number[Info], "note"), count(objects, "annotated object"))
	if ignored > 0 {
		text += fmt.Sprintf("; %d ignored", ignored)
	}
	return text + "."
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
