package survey

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// Subject is what is inspected: one of its fields is set.
type Subject struct {
	Target   cabundle.Target
	Source   cabundle.Reference
	CABundle string // by name
}

// Inspect looks at subject. The error is about subject itself: that it does not exist, or may not be read. A source that does not exist is none.
func (r *Reader) Inspect(ctx context.Context, subject Subject) (inspection *Inspection, err error) {
	switch {
	case subject.Target.Kind != "":
		inspection, err = r.inspectTarget(ctx, subject.Target)
	case subject.Source.Kind != "":
		inspection, err = r.inspectSource(ctx, subject.Source)
	default:
		inspection, err = r.inspectCABundle(ctx, subject.CABundle)
	}
	if err != nil {
		return nil, err
	}
	return inspection, r.addEvents(ctx, inspection)
}

func (r *Reader) inspectTarget(ctx context.Context, target cabundle.Target) (*Inspection, error) {
	survey, err := r.Read(ctx, Selection{Named: []cabundle.Target{target}})
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you may not read %s", target)
	case err != nil:
		return nil, err
	case survey.Targets[0].State == Absent:
		return nil, fmt.Errorf("%s does not exist", target)
	}
	inspection := InspectTarget(r.now(), survey.Targets[0])
	inspection.Notes = append(inspection.Notes, survey.Gaps...)
	return inspection, nil
}

// inspectSource looks at a source and all that names it.
func (r *Reader) inspectSource(ctx context.Context, ref cabundle.Reference) (*Inspection, error) {
	survey, err := r.all(ctx)
	if err != nil {
		return nil, err
	}
	known := Known{Reading: r.sources.Read(ctx, ref, cluster.Consistent), Published: survey.Published[ref.String()], Unlisted: survey.Published == nil}
	inspection := InspectSource(r.now(), ref, known, naming(survey, ref.String()))
	inspection.Notes = append(inspection.Notes, survey.Gaps...)
	if ref.Kind == cabundle.Secret {
		r.addCertificateOf(ctx, ref, survey, inspection)
	}
	return inspection, ctx.Err()
}

// all returns all annotated targets that the caller may read; that may be none.
func (r *Reader) all(ctx context.Context) (*Survey, error) {
	survey, err := r.Read(ctx, Selection{})
	if !apierrors.IsForbidden(err) {
		return survey, err
	}
	published, err := r.published(ctx, &Survey{})
	return &Survey{Published: published, Gaps: []string{"you may not list any kind that carries a caBundle: what names the source is missing here"}}, err
}

// addCertificateOf notes that a Secret is named through a Certificate, too, and shows its certificates if it does not allow it to be named itself.
func (r *Reader) addCertificateOf(ctx context.Context, ref cabundle.Reference, survey *Survey, inspection *Inspection) {
	var secret corev1.Secret
	if err := r.objects.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &secret); err != nil {
		return // what is wrong with it is said already
	}
	if len(inspection.Certificates) == 0 {
		if bundle, _, problem := cabundle.ParseSource(secret.Data["ca.crt"]); problem == nil {
			inspection.Certificates = DecodePEM(inspection.At, bundle.PEM(), nil)
		}
	}
	name := cabundle.CertificateName(secret.Annotations)
	if name == "" {
		return
	}
	through := cabundle.Reference{Kind: cabundle.Certificate, Namespace: ref.Namespace, Name: name}
	inspection.Notes = append(inspection.Notes, "it is the Secret of "+Printable(objectOf(through))+": targets that name that one get it, too")
	inspection.Targets = append(inspection.Targets, naming(survey, through.String())...)
}

// naming returns the targets of survey that name source.
func naming(survey *Survey, source string) []Finding {
	return slices.DeleteFunc(slices.Clone(survey.Targets), func(f Finding) bool { return f.Source != source })
}

func (r *Reader) inspectCABundle(ctx context.Context, name string) (*Inspection, error) {
	var published v1alpha1.CABundle
	switch err := r.objects.Get(ctx, client.ObjectKey{Name: name}, &published); {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("CABundle %s does not exist", name)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you may not read CABundle %s", name)
	case err != nil:
		return nil, fmt.Errorf("read CABundle %s: %w", name, err)
	}
	survey, err := r.all(ctx)
	if err != nil {
		return nil, err
	}
	inspection := InspectCABundle(r.now(), &published, naming(survey, published.Spec.Source))
	inspection.Notes = append(inspection.Notes, survey.Gaps...)
	return inspection, nil
}

// maxEvents is how many Events are shown.
const maxEvents = 5

// Event is one on the object.
type Event struct {
	Type    string    `json:"type"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	From    string    `json:"from,omitempty"`
	Count   int32     `json:"count,omitempty"`
	Last    time.Time `json:"last"`
}

// addEvents adds the latest Events on the object.
func (r *Reader) addEvents(ctx context.Context, inspection *Inspection) error {
	if inspection.kind == "" {
		return nil
	}
	var list corev1.EventList
	on := fields.Set{"involvedObject.kind": inspection.kind, "involvedObject.name": inspection.name}
	err := r.objects.List(ctx, &list, client.InNamespace(inspection.namespace), client.MatchingFieldsSelector{Selector: on.AsSelector()})
	switch {
	case apierrors.IsForbidden(err):
		inspection.Notes = append(inspection.Notes, fmt.Sprintf("you may not list events in namespace %s: those are missing here", inspection.namespace))
	case err != nil:
		return fmt.Errorf("list the events on %s: %w", inspection.Object, err)
	}
	for i := range list.Items {
		inspection.Events = append(inspection.Events, eventOf(&list.Items[i]))
	}
	slices.SortStableFunc(inspection.Events, func(a, b Event) int { return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Message, b.Message)) })
	inspection.Events = inspection.Events[:min(maxEvents, len(inspection.Events))]
	return nil
}

func eventOf(event *corev1.Event) Event {
	last, count := event.LastTimestamp.Time, event.Count
	if event.EventTime.After(last) {
		last = event.EventTime.Time
	}
	if series := event.Series; series != nil {
		last, count = series.LastObservedTime.Time, series.Count
	}
	from := event.Source.Component
	if from == "" {
		from = event.ReportingController
	}
	return Event{
		Type: Printable(event.Type), Reason: Printable(event.Reason), Message: Printable(event.Message), From: Printable(from), Count: count, Last: last.UTC(),
	}
}
