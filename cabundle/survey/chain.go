package survey

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// LinkState says how a link of the chain from the annotation to the caBundle is.
type LinkState string

// The states of links.
const (
	Holds      LinkState = "Holds"
	Broken     LinkState = "Broken"
	NotReached LinkState = "NotReached"
	// Unknown: it is not known, or does not matter, and the chain goes on.
	Unknown LinkState = "Unknown"
)

// Link is one of the steps between an annotation and the caBundle.
type Link struct {
	Name  string    `json:"name"`
	State LinkState `json:"state"`
	// Reason, Detail and Remedy are as in a Finding.
	Reason cabundle.Reason `json:"reason,omitempty"`
	Detail string          `json:"detail,omitempty"`
	Remedy string          `json:"remedy,omitempty"`
}

// The links.
const (
	annotationLink = "annotation"
	sourceLink     = "source"
	optInLink      = "opt-in"
	certLink       = "ca.crt"
	publishedLink  = "published"
	bundleLink     = "caBundle"
)

// chain returns the links of f's target.
func (f *Finding) chain(now time.Time) []Link {
	links := append([]Link{f.annotation()}, sourceChain(now, f.Reference, f.Known, f.State.Right())...)
	return reached(append(links, f.bundles()...))
}

// reached marks what is behind a broken link. The caBundles stand beside each other.
func reached(links []Link) []Link {
	isBundle := func(link Link) bool { return strings.HasPrefix(link.Name, bundleLink) }
	at := slices.IndexFunc(links, func(link Link) bool { return link.State == Broken && !isBundle(link) })
	for i := at + 1; at >= 0 && i < len(links); i++ {
		behind := Link{Name: links[i].Name, State: NotReached}
		if isBundle(links[i]) { // what it holds counts all the same
			behind.Detail = links[i].Detail
		}
		links[i] = behind
	}
	return links
}

// annotation is the link of the target's annotation.
func (f *Finding) annotation() Link {
	if f.Source == "" {
		return Link{Name: annotationLink, State: Broken, Reason: f.Reason, Detail: f.Message, Remedy: f.Remedy}
	}
	return Link{Name: annotationLink, State: Holds, Detail: "it names " + f.Source}
}

// linkOf returns the link that problem is about.
func linkOf(problem *cabundle.Problem) string {
	switch problem.Reason {
	case cabundle.SourceNotFound, cabundle.SourceForbidden, cabundle.SourceUnavailable, cabundle.SourceOutOfScope, cabundle.InternalError:
		return sourceLink
	case cabundle.SourceNotAllowed:
		return optInLink
	}
	if strings.HasPrefix(problem.Detail, "Certificate ") { // it names no Secret, or one that cannot exist
		return sourceLink
	}
	return certLink
}

// sourceChain returns the links of a source, from whether it exists to whether caject publishes it. filled says that no target lacks anything.
func sourceChain(now time.Time, ref cabundle.Reference, known Known, filled bool) []Link {
	reading := judged(now, known.Reading)
	links := []Link{
		{Name: sourceLink, State: Holds, Detail: objectOf(ref) + " exists"},
		{Name: optInLink, State: Holds, Detail: "its owner allows injection"},
		{Name: certLink, State: Holds, Detail: contentOf(now, reading.Bundle)},
	}
	if ref.Kind == cabundle.APIServer {
		links = []Link{links[0], links[2]}
	}
	if len(reading.LeftOut) > 0 {
		links[len(links)-1].Detail += "; " + cabundle.LeftOutMessage(reading.LeftOut)
	}
	if problem := reading.Problem; problem != nil {
		at := slices.IndexFunc(links, func(link Link) bool { return link.Name == linkOf(problem) })
		links[at] = Link{Name: links[at].Name, State: Broken, Reason: problem.Reason, Detail: problem.Detail, Remedy: problem.Remedy}
		if problem.Reason == cabundle.SourceForbidden { // for the one who asks; caject may
			for i := range links {
				links[i].State, links[i].Reason, links[i].Remedy = Unknown, "", ""
				if i != at {
					links[i].Detail = "not known"
				}
			}
		}
	}
	return append(links, known.publication(reading, filled))
}

// judged returns reading as targets are filled from it.
func judged(now time.Time, reading cabundle.Reading) cabundle.Reading {
	rules := cabundle.Rules{}
	reading = rules.Judge(now, rules.Observe(now, cabundle.History{}, reading), reading)
	if reading.Problem == nil && !reading.Bundle.Empty() && reading.Bundle.Unexpired(now).Empty() {
		reading.Problem = cabundle.Expired(reading.Bundle)
	}
	return reading
}

// objectOf names the object that is the source.
func objectOf(ref cabundle.Reference) string {
	switch ref.Kind {
	case cabundle.Secret:
		return "Secret " + ref.Namespace + "/" + ref.Name
	case cabundle.Certificate:
		return "Certificate " + ref.Namespace + "/" + ref.Name
	}
	return "the API server's CA"
}

// contentOf says how many certificates there are, and when the first expires.
func contentOf(now time.Time, bundle cabundle.Bundle) string {
	count := counted(len(bundle.Certificates()))
	first := bundle.FirstExpiry()
	switch {
	case first.IsZero():
		return count
	case len(bundle.Certificates()) == 1:
		return count + ", " + validity(now, time.Time{}, first)
	}
	return count + ", the first " + validity(now, time.Time{}, first)
}

func counted(certificates int) string {
	if certificates == 1 {
		return "1 certificate"
	}
	return fmt.Sprintf("%d certificates", certificates)
}

// late are what a CABundle may still say of a source that has become good: it is shown a moment after the targets are filled. The other reasons
// are caject's own word, which a reading of somebody else does not refute: it may not read the source, or distrusts it.
var late = map[cabundle.Reason]bool{
	cabundle.SourceNotFound: true, cabundle.SourceNotAllowed: true, cabundle.SourceWithoutCA: true, cabundle.SourceInvalid: true,
	cabundle.SourceTooLarge: true, cabundle.SourceExpired: true, cabundle.SourceUnavailable: true,
}

// publication is the link of what caject publishes of a source, which reading is of.
func (k *Known) publication(reading cabundle.Reading, filled bool) Link {
	link := Link{Name: publishedLink, State: Broken}
	switch {
	case k.Published == nil && k.Unlisted:
		link.State, link.Detail = Unknown, "you may not read cabundles"
		return link
	case k.Published == nil && filled:
		link.State, link.Detail = Unknown, "caject publishes nothing of it (yet), and no target lacks anything"
		return link
	case k.Published == nil:
		link.Detail, link.Remedy = "caject publishes nothing of it", "is an injector running? kubectl caject check"
		return link
	}
	name := "CABundle " + k.Published.Name
	ready := meta.FindStatusCondition(k.Published.Status.Conditions, v1alpha1.Ready)
	announced := Announced(k.Published)
	switch {
	case filled && reading.Problem == nil && announced.Problem != nil && late[announced.Problem.Reason]:
		link.State, link.Detail = Unknown, name+" does not show the source as it is yet, and no target lacks anything"
	case ready != nil && ready.Status == metav1.ConditionFalse:
		link.Reason, link.Detail = cabundle.Reason(ready.Reason), name+" is not Ready: "+ready.Message
		link.Remedy = "that is what caject has met last: it tries again by itself"
	case announced.Problem != nil:
		link.Reason, link.Detail = announced.Problem.Reason, name+": "+announced.Problem.Detail
		link.Remedy = "wait, or see whether caject runs: kubectl caject check"
	case filled && lacks(announced.Bundle, reading.Bundle): // it is shown a moment after the targets are filled
		link.State, link.Detail = Unknown, name+" does not show all certificates of the source yet, and no target lacks any"
	case lacks(announced.Bundle, reading.Bundle):
		link.Detail = name + " does not hold all certificates of the source"
		link.Remedy = "caject has not read the source since it changed, or distrusts a certificate of it: it does within resyncInterval"
	default:
		link.State, link.Detail = Holds, fmt.Sprintf("%s is Ready: %s", name, counted(len(announced.Bundle.Certificates())))
	}
	return link
}

// bundles are the links of the target's fields; those that are in the same state are one.
func (f *Finding) bundles() []Link {
	if f.State == NotInjectable {
		return []Link{{Name: bundleLink, State: Unknown, Detail: f.Message + ": there is nothing to fill"}}
	}
	var links []Link
	var webhooks [][]string
	for i, field := range f.Object.Fields {
		link := f.bundle(i)
		at := slices.IndexFunc(links, func(other Link) bool { return other == link })
		if at < 0 {
			at = len(links)
			links, webhooks = append(links, link), append(webhooks, nil)
		}
		webhooks[at] = append(webhooks[at], field.Webhook)
	}
	for i := range links {
		links[i].Name = bundleLink + in(webhooks[i])
	}
	return links
}

// bundle is the link of the field i, without its name.
func (f *Finding) bundle(i int) Link {
	held := cabundle.ParseExisting(f.Object.Fields[i].CABundle)
	link := Link{State: Holds, Detail: counted(len(held.Certificates()))}
	switch {
	case f.differs != nil && f.differs[i] == "":
		link.Detail += ", all that the source holds among them"
	case f.differs != nil:
		link.State, link.Detail = Broken, string(f.differs[i])
		link.Remedy, _, _ = strings.Cut(f.Remedy, ": kubectl caject inspect") // which this is
	case held.Empty():
		link.State, link.Detail, link.Remedy = Broken, string(holdsNone), f.Remedy
	case f.State == Unverified:
		link.State, link.Detail = Unknown, link.Detail+"; whether they are those of the source is not known"
	case f.State == Refused && f.Reason == cabundle.TargetTooLarge:
		link.State, link.Reason, link.Detail, link.Remedy = Broken, f.Reason, f.Message, f.Remedy
	default:
		link.State = Unknown
	}
	return link
}
