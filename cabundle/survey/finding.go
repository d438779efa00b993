package survey

import (
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// State says in one word how a target is.
type State string

// The states.
const (
	// Injected: each place for a caBundle holds all that the source has.
	Injected State = "Injected"
	// Unverified: each place holds a certificate, but the caller may not read what it should be.
	Unverified State = "Unverified"
	// Pending: the source is good, and the target lacks something of it.
	Pending State = "Pending"
	// Refused: something is wrong with the target or its source; the Reason says what.
	Refused State = "Refused"
	// NotInjectable: the target is annotated, and has no place for a caBundle. Nothing is wrong.
	NotInjectable State = "NotInjectable"
	// NotAnnotated: it asks for nothing. Only a target that was asked for by name is shown then.
	NotAnnotated State = "NotAnnotated"
	// Absent: a target that was asked for by name does not exist.
	Absent State = "Absent"
)

// States returns all states.
func States() []State {
	return []State{Injected, Unverified, Pending, Refused, NotInjectable, NotAnnotated, Absent}
}

// Right reports whether nothing is left to do for a target in that state.
func (s State) Right() bool { return s == Injected || s == Unverified || s == NotInjectable }

// Finding is what is found of one target.
type Finding struct {
	Kind cabundle.Kind `json:"kind"`
	Name string        `json:"name"`
	// Source is what the annotation names, as cabundle.Reference has it; empty if that is nothing.
	Source string `json:"source,omitempty"`
	State  State  `json:"state"`
	// Reason is why the target is not right; empty if it is, or if caject has only not come to it yet.
	Reason cabundle.Reason `json:"reason,omitempty"`
	// Message says what is wrong, or worth knowing, and Remedy the way out. Neither has a full stop.
	Message string `json:"message,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	// Expires is when the first certificate expires that the target holds; nil if it holds none.
	Expires *time.Time `json:"expires,omitempty"`
	// Created is when the target was created; nil if it does not exist.
	Created *time.Time `json:"created,omitempty"`

	// Object is the target as it was read.
	Object cabundle.Object `json:"-"`
	// Reference is what Source names; zero if it names nothing that can exist.
	Reference cabundle.Reference `json:"-"`
	// Known is what is known of the source.
	Known Known `json:"-"`
	// differs says of each of Object's Fields what it lacks; nil if that was not looked at.
	differs []difference
}

// Target names the target.
func (f *Finding) Target() cabundle.Target { return cabundle.Target{Kind: f.Kind, Name: f.Name} }

// Known is what the caller can know of a source.
type Known struct {
	// Reading is what the source holds. Its Problem is of reason SourceForbidden if the caller may not read it.
	Reading cabundle.Reading
	// Published is what caject publishes of it; nil if that is nothing, or cannot be read.
	Published *v1alpha1.CABundle
	// Unlisted is true if the caller may not read what caject publishes.
	Unlisted bool
}

// Survey is all that was found.
type Survey struct {
	// Targets are in the order of kinds, and then of names.
	Targets []Finding `json:"targets"`
	// Gaps say what the caller may not read, one line each.
	Gaps []string `json:"gaps,omitempty"`

	// Published are all CABundles, by the source that they are about.
	Published map[string]*v1alpha1.CABundle `json:"-"`
}

// Right reports whether all targets are.
func (s *Survey) Right() bool {
	for i := range s.Targets {
		if !s.Targets[i].State.Right() {
			return false
		}
	}
	return true
}
