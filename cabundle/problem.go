package cabundle

import "fmt"

// Reason says in one CamelCase word why a target is not injected. The words appear in Events, metrics and logs, and
// do not change from one release to the next.
type Reason string

// The reasons, each with who can put it right.
const (
	// InvalidAnnotation: the target's annotation cannot be understood. Its author.
	InvalidAnnotation Reason = "InvalidAnnotation"
	// NotInjectable: the target has no field that could take a caBundle. Nothing is wrong, and nobody is told: kubebuilder, for one,
	// annotates all CRDs, those without conversion webhook, too.
	NotInjectable Reason = "NotInjectable"
	// TargetTooLarge: with the bundle the target would come near the limit of etcd. Its author.
	TargetTooLarge Reason = "TargetTooLarge"
	// TargetForbidden: caject may not read or write the target. The operator.
	TargetForbidden Reason = "TargetForbidden"
	// TargetRefused: the API server does not accept the target with the bundle. Its author.
	TargetRefused Reason = "TargetRefused"
	// TargetUnavailable: the API server did not answer about the target, or not in time.
	TargetUnavailable Reason = "TargetUnavailable"
	// SourceOutOfScope: the operator has told caject not to read such sources.
	SourceOutOfScope Reason = "SourceOutOfScope"
	// SourceNotFound: the Secret or Certificate does not exist (yet).
	SourceNotFound Reason = "SourceNotFound"
	// SourceForbidden: caject may not read it. The operator.
	SourceForbidden Reason = "SourceForbidden"
	// SourceNotAllowed: the Secret lacks the annotation that opts in. The Secret's owner.
	SourceNotAllowed Reason = "SourceNotAllowed"
	// SourceWithoutCA: the Secret has no key ca.crt (yet).
	SourceWithoutCA Reason = "SourceWithoutCA"
	// SourceInvalid: ca.crt holds something that is not a certificate, or nothing at all; or a Certificate names a Secret that cannot
	// exist.
	SourceInvalid Reason = "SourceInvalid"
	// SourceTooLarge: ca.crt is over MaxSourceBytes.
	SourceTooLarge Reason = "SourceTooLarge"
	// SourceExpired: every certificate in ca.crt has expired.
	SourceExpired Reason = "SourceExpired"
	// SourceDistrusted: every certificate in ca.crt is distrusted. The Secret's owner, or the operator.
	SourceDistrusted Reason = "SourceDistrusted"
	// SourceUnavailable: the API server did not answer, or not in time.
	SourceUnavailable Reason = "SourceUnavailable"
	// InternalError: caject itself failed (a panic, recovered).
	InternalError Reason = "InternalError"
)

// Problem is why a target is not injected, for those who can put it right. It never holds what was in a Secret.
type Problem struct {
	Reason Reason
	// Detail says what is wrong and names the object, without a full stop.
	Detail string
	// Remedy says the way out, without a full stop; it may be empty.
	Remedy string
	// Answered is true for an Outage in which something did answer, an error. If it lasts, somebody should know.
	Answered bool
}

// Error returns detail and remedy in one line.
func (p *Problem) Error() string {
	if p.Remedy == "" {
		return p.Detail
	}
	return p.Detail + " (" + p.Remedy + ")"
}

// Idle reports that there is nothing to do and nothing wrong.
func (p *Problem) Idle() bool { return p.Reason == NotInjectable }

// Final reports that only a change of the target (or, for TargetTooLarge, of its source) can help, or other flags of
// caject's, so that trying again is of no use.
func (p *Problem) Final() bool {
	switch p.Reason {
	case InvalidAnnotation, NotInjectable, TargetTooLarge, SourceOutOfScope:
		return true
	}
	return false
}

// Outage reports that the problem says nothing about target or source: the answer is not known.
func (p *Problem) Outage() bool {
	switch p.Reason {
	case SourceUnavailable, TargetUnavailable, InternalError:
		return true
	}
	return false
}

// Withdrawn reports that somebody who may say so does not want the source to be injected (any more).
func (p *Problem) Withdrawn() bool {
	return p.Reason == SourceNotAllowed || p.Reason == SourceOutOfScope
}

// Next says what caject does about the problem by itself.
func (p *Problem) Next() string {
	switch {
	case p.Reason == TargetTooLarge:
		return "caject leaves the object as it is until it or the source changes"
	case p.Final():
		return "caject leaves the object as it is until it changes"
	}
	return "caject keeps trying and injects it then"
}

// Message says in one line that a target is not injected, why, what to do, and what caject does by itself.
func (p *Problem) Message() string {
	return "caBundle not injected: " + p.Error() + "; " + p.Next()
}

// Panicked is the Problem of a bug of caject's that was met in working on what.
func Panicked(what fmt.Stringer) *Problem {
	return &Problem{
		Reason:   InternalError,
		Detail:   "caject failed on " + what.String() + " (a bug: its log says more)",
		Answered: true,
	}
}

// DroppedMessage says in one line that certificates had to leave a bundle for want of room.
func DroppedMessage(dropped int) string {
	return fmt.Sprintf("the bundle would be too large: the %d oldest certificates that the source does not hold any more were dropped from it (--retire-after drops them in time)", dropped)
}
