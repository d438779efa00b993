package survey

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// Judge returns what is to be said at now of object, whose annotations name a source of which known is known. The rules are those by
// which caject fills; what it remembers of former certificates does not count, so that a target that holds more than its
// source is right.
func Judge(now time.Time, object cabundle.Object, known Known) Finding {
	finding := Finding{Kind: object.Kind, Name: object.Name, Object: object, Known: known, Expires: expiry(object)}
	if !object.Created.IsZero() {
		finding.Created = &object.Created
	}
	ref, annotated, problem := cabundle.ReferenceOf(object.Annotations)
	switch {
	case problem != nil:
		finding.refuse(problem)
	case !annotated:
		finding.notAnnotated()
	default:
		finding.Reference, finding.Source = ref, ref.String()
		if problem := object.NotInjectableProblem(); problem != nil {
			finding.State, finding.Message = NotInjectable, object.NotInjectable
			return finding
		}
		finding.compare(now)
	}
	return finding
}

// refuse says that something is wrong.
func (f *Finding) refuse(problem *cabundle.Problem) {
	f.State, f.Reason, f.Message, f.Remedy = Refused, problem.Reason, problem.Detail, problem.Remedy
}

// notAnnotated is about a target that names no source, at least not as it should.
func (f *Finding) notAnnotated() {
	if key, meant := cabundle.MisspeltAnnotation(f.Object.Annotations); key != "" {
		f.refuse(&cabundle.Problem{
			Reason: cabundle.InvalidAnnotation,
			Detail: fmt.Sprintf("annotation %s is not followed", key),
			Remedy: "it is " + meant,
		})
		return
	}
	f.State, f.Message, f.Remedy = NotAnnotated, "no annotation names a source", "set "+cabundle.InjectCAFromSecretAnnotation+", or another one"
}

// compare holds the target against what is known of its source.
func (f *Finding) compare(now time.Time) {
	reading, published := f.Known.Reading, f.Known.Published
	problem := reading.Problem
	if problem != nil && problem.Reason == cabundle.SourceForbidden {
		if published == nil {
			f.unverified(problem.Detail)
			return
		}
		reading = Announced(published)
		f.Message = problem.Detail + "; judged by what caject publishes of it"
		problem = reading.Problem
	}
	if problem != nil {
		f.refuse(problem)
		return
	}
	rules := cabundle.Rules{}.For(f.Object.Annotations)
	history := rules.Observe(now, cabundle.History{}, reading)
	if reading = rules.Judge(now, history, reading); reading.Problem != nil {
		f.refuse(reading.Problem)
		return
	}
	patch, _, problem := cabundle.Inject(now, f.Object, nil, reading.Bundle, rules.Combine(history))
	if problem != nil {
		f.refuse(problem)
		return
	}
	f.State = Injected
	f.differs = differences(now, f.Object, patch)
	if wrong := summary(f.Object, f.differs); wrong != "" {
		f.State, f.Message, f.Remedy = Pending, wrong, f.whatToDo(reading.Bundle)
	}
}

// unverified judges a target of whose source nothing is known.
func (f *Finding) unverified(why string) {
	if slices.ContainsFunc(f.Object.Fields, func(field cabundle.Field) bool { return cabundle.ParseExisting(field.CABundle).Empty() }) {
		f.State, f.Message = Pending, "it holds no certificate; "+why
		return
	}
	f.State, f.Message = Unverified, why+"; whether its certificates are those of the source is not known"
}

// difference is what a field of a target lacks, in the order in which it matters; nothing if all is right.
type difference string

// The differences.
const (
	holdsNone    difference = "it holds no certificate"
	holdsPart    difference = "it does not hold all certificates of the source"
	holdsSurplus difference = "it holds certificates that it should not hold any more"
)

// differences says of each field of object what patch would change, or nothing if that is nothing that counts: certificates that have
// expired leave a target in time, and do no harm.
func differences(now time.Time, object cabundle.Object, patch []jsonpatch.Operation) []difference {
	differs := make([]difference, len(object.Fields))
	for i, field := range object.Fields {
		at := slices.IndexFunc(patch, func(operation jsonpatch.Operation) bool { return operation.Path == field.Path })
		if at < 0 {
			continue
		}
		held, wanted := cabundle.ParseExisting(field.CABundle), wantedBy(patch[at])
		switch {
		case held.Empty():
			differs[i] = holdsNone
		case lacks(held, wanted):
			differs[i] = holdsPart
		case lacks(wanted, held.Unexpired(now)):
			differs[i] = holdsSurplus
		}
	}
	return differs
}

// summary says of the worst difference where it is, or nothing if there is none.
func summary(object cabundle.Object, differs []difference) string {
	for _, worst := range []difference{holdsNone, holdsPart, holdsSurplus} {
		var webhooks []string
		for i, field := range object.Fields {
			if differs[i] == worst {
				webhooks = append(webhooks, field.Webhook)
			}
		}
		if len(webhooks) > 0 {
			return string(worst) + in(webhooks)
		}
	}
	return ""
}

// wantedBy returns the certificates that operation puts into its place.
func wantedBy(operation jsonpatch.Operation) cabundle.Bundle {
	caBundle, _ := operation.Value.(string)
	return cabundle.Published{CABundle: caBundle}.Bundle()
}

// lacks reports whether there is a certificate of wanted that held has not.
func lacks(held, wanted cabundle.Bundle) bool {
	return slices.ContainsFunc(wanted.Certificates(), func(c *x509.Certificate) bool { return !held.Holds(c) })
}

// whatToDo is the way out for a target that lacks something of bundle.
func (f *Finding) whatToDo(bundle cabundle.Bundle) string {
	if f.Known.Published == nil {
		return "is an injector running? caject publishes nothing of this source: kubectl caject check"
	}
	announced := Announced(f.Known.Published)
	if lacks(announced.Bundle, bundle) {
		return "caject has not read the source since it changed, or distrusts a certificate of it: it does within resyncInterval"
	}
	return "caject knows the source, and fills the target within resyncInterval: kubectl caject inspect " + Argument(f.Target())
}

// in names webhooks; kinds with one caBundle have none.
func in(webhooks []string) string {
	const most = 3
	if webhooks[0] == "" {
		return ""
	}
	if more := len(webhooks) - most; more > 0 {
		return fmt.Sprintf(" in %s and %d more webhooks", strings.Join(webhooks[:most], ", "), more)
	}
	return " in " + strings.Join(webhooks, ", ")
}

// Announced returns what caject says of a source as if it were read: the certificates that targets get, or why there are none.
func Announced(published *v1alpha1.CABundle) cabundle.Reading {
	ready := meta.FindStatusCondition(published.Status.Conditions, v1alpha1.Ready)
	if ready != nil && ready.Status == metav1.ConditionFalse {
		return cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.Reason(ready.Reason), Detail: ready.Message}}
	}
	reading := cabundle.Reading{Bundle: cabundle.Published{CABundle: published.Status.CABundle}.Bundle()}
	if reading.Bundle.Empty() {
		reading.Problem = &cabundle.Problem{Reason: cabundle.SourceUnavailable, Detail: "caject has not read " + published.Spec.Source + " yet"}
	}
	return reading
}

// expiry returns when the first certificate expires that object holds; nil if it holds none.
func expiry(object cabundle.Object) *time.Time {
	var first time.Time
	for _, field := range object.Fields {
		at := cabundle.ParseExisting(field.CABundle).FirstExpiry()
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return nil
	}
	return &first
}
