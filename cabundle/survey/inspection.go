package survey

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// Inspection is all that is found of one object: a target, a source or a CABundle.
type Inspection struct {
	// Object names it: "ValidatingWebhookConfiguration a", "Secret ns/a", "CABundle secret.ns.a".
	Object string `json:"object"`
	// At is when it was looked at.
	At time.Time `json:"at"`
	// Source is as in a Finding.
	Source string `json:"source,omitempty"`
	// State is that of a target; empty for others.
	State State `json:"state,omitempty"`
	// Chain are the links from the annotation to the caBundle; of a source, its own.
	Chain []Link `json:"chain,omitempty"`
	// Places are the caBundles of a target.
	Places []Place `json:"places,omitempty"`
	// Certificates are those of a source's ca.crt, or of a CABundle.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Conditions are those of the CABundle.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Targets are those that name the source.
	Targets []Finding `json:"targets,omitempty"`
	// Owners are the field managers that own a caBundle of a target.
	Owners []Owner `json:"owners,omitempty"`
	// Events are the latest ones on the object, the newest first.
	Events []Event `json:"events,omitempty"`
	// Dials say what the servers behind a target serve; only if that was asked.
	Dials []Dial `json:"dials,omitempty"`
	// Notes say what could not be read, and what is worth knowing.
	Notes []string `json:"notes,omitempty"`

	// Finding is what was found of a target; its zero value for others.
	Finding Finding `json:"-"`
	// kind, namespace and name are what Events are on.
	kind, namespace, name string
}

// Right reports whether nothing is left to do.
func (i *Inspection) Right() bool {
	return (i.State == "" || i.State.Right()) &&
		!slices.ContainsFunc(i.Chain, func(link Link) bool { return link.State == Broken }) &&
		!slices.ContainsFunc(i.Targets, func(f Finding) bool { return !f.State.Right() }) &&
		!slices.ContainsFunc(i.Dials, func(d Dial) bool { return d.Verdict != Verified })
}

// Owner is a field manager that owns a caBundle.
type Owner struct {
	Manager   string     `json:"manager"`
	Operation string     `json:"operation"`
	Time      *time.Time `json:"time,omitempty"`
	// Warning says what comes of it.
	Warning string `json:"warning"`
}

// owners returns those of managers that own a caBundle.
func owners(managers []cabundle.Manager) []Owner {
	var owners []Owner
	for _, manager := range managers {
		if !manager.CABundle {
			continue
		}
		owner := Owner{
			Manager: Printable(manager.Name), Operation: string(manager.Operation),
			Warning: "what others apply conflicts with it, and what it applies without a caBundle takes that away: leave caBundle out of its manifest",
		}
		if manager.Name == cabundle.FieldManager {
			owner.Warning = "caject has written, and gives the field up at once: if it stays, caject has no right to patch the object, or does not run"
		}
		if !manager.Time.IsZero() {
			owner.Time = &manager.Time
		}
		owners = append(owners, owner)
	}
	return owners
}

// InspectTarget returns what is to be said at now of the target that f is about.
func InspectTarget(now time.Time, f Finding) *Inspection {
	return &Inspection{
		Object: f.Target().String(), At: now, Source: f.Source, State: f.State,
		Chain: f.chain(now), Places: f.places(now), Owners: owners(f.Object.Managers),
		Finding: f, kind: string(f.Kind), namespace: metav1.NamespaceDefault, name: f.Name,
	}
}

// InspectSource returns what is to be said at now of a source of which known is known; targets are those that name it.
func InspectSource(now time.Time, ref cabundle.Reference, known Known, targets []Finding) *Inspection {
	filled := !slices.ContainsFunc(targets, func(f Finding) bool { return !f.State.Right() })
	inspection := &Inspection{
		Object: objectOf(ref), At: now, Source: ref.String(), Targets: targets,
		Chain:        reached(sourceChain(now, ref, known, filled)),
		Certificates: DecodePEM(now, known.Reading.Bundle.PEM(), nil),
		namespace:    ref.Namespace, name: ref.Name,
	}
	switch ref.Kind {
	case cabundle.Secret:
		inspection.kind = "Secret"
	case cabundle.Certificate:
		inspection.kind = "Certificate"
	}
	if known.Published != nil {
		inspection.Conditions = known.Published.Status.Conditions
	}
	return inspection
}

// InspectCABundle returns what is to be said at now of a CABundle; targets are those that name its source.
func InspectCABundle(now time.Time, published *v1alpha1.CABundle, targets []Finding) *Inspection {
	known := Known{Published: published}
	return &Inspection{
		Object: "CABundle " + published.Name, At: now, Source: Printable(published.Spec.Source), Targets: targets,
		Chain:        []Link{known.publication(cabundle.Reading{}, false)},
		Certificates: DecodePEM(now, cabundle.Published{CABundle: published.Status.CABundle}.Bundle().PEM(), known.origin),
		Conditions:   published.Status.Conditions,
		kind:         "CABundle", namespace: metav1.NamespaceDefault, name: published.Name,
	}
}
