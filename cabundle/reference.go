package cabundle

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Annotations on targets. The first one that is configured wins; there is no fall-back to the next if its source
// cannot be used (as in cert-manager's cainjector). White space around a value does not count: a block scalar of YAML leaves a
// line end.
const (
	// InjectCAFromSecretAnnotation names a Secret, namespace/name, that allows it with AllowDirectInjectionAnnotation.
	InjectCAFromSecretAnnotation = "cert-manager.io/inject-ca-from-secret"
	// InjectCAFromAnnotation names a Certificate of cert-manager, namespace/name.
	InjectCAFromAnnotation = "cert-manager.io/inject-ca-from"
	// InjectAPIServerCAAnnotation, exactly "true", asks for the CA of the API server.
	InjectAPIServerCAAnnotation = "cert-manager.io/inject-apiserver-ca"
	// InjectAnnotation names a source of any kind as Reference.String does: secret/namespace/name, certificate/namespace/name or
	// apiserver. cainjector does not know it, so it comes last.
	InjectAnnotation = "caject.io/inject-ca-from"
)

// targetAnnotations are all of those, the one that counts first.
var targetAnnotations = []string{InjectCAFromSecretAnnotation, InjectCAFromAnnotation, InjectAPIServerCAAnnotation, InjectAnnotation}

// AsksForInjection reports that key is one of the annotations on targets.
func AsksForInjection(key string) bool { return slices.Contains(targetAnnotations, key) }

// Annotations by which the owner of a Secret withdraws CAs that leaked: fingerprints, as ParseFingerprints reads them.
const (
	// DistrustAnnotation names certificates that leave all targets of the Secret at once, expired or not.
	DistrustAnnotation = "caject.io/distrust"
	// TrustAgainAnnotation names certificates that were distrusted by mistake.
	TrustAgainAnnotation = "caject.io/trust-again"
)

// SourceKind says what a Reference points at.
type SourceKind string

// The kinds of source.
const (
	Secret      SourceKind = "secret"
	Certificate SourceKind = "certificate"
	APIServer   SourceKind = "apiserver"
)

// Reference names the one object that a target's caBundle comes from. Namespace and Name are empty for APIServer.
// It is comparable, so it serves as a map key.
type Reference struct {
	Kind      SourceKind
	Namespace string
	Name      string
}

// String returns secret/namespace/name, certificate/namespace/name or apiserver.
func (r Reference) String() string {
	if r.Kind == APIServer {
		return string(APIServer)
	}
	return string(r.Kind) + "/" + r.Namespace + "/" + r.Name
}

// ReferenceOf returns the source that annotations of a target ask for; ok is false if they ask for none.
// The Problem is of reason InvalidAnnotation, and final: it stays until the annotation changes.
//
// White space around the value is left out: see PaddedAnnotation. The annotations whose values name a source count as configured when
// the key is there, even with an empty value. The chart's policies say the same in CEL (caject.source in _helpers.tpl).
func ReferenceOf(annotations map[string]string) (ref Reference, ok bool, problem *Problem) {
	annotation, value := counting(annotations)
	switch annotation {
	case InjectCAFromSecretAnnotation:
		ref, problem = parseReference(Secret, value, annotation, value)
	case InjectCAFromAnnotation:
		ref, problem = parseReference(Certificate, value, annotation, value)
	case InjectAPIServerCAAnnotation:
		ref = Reference{Kind: APIServer}
	case InjectAnnotation:
		ref, problem = parseSource(annotation, value)
	}
	return ref, annotation != "", problem
}

// counting returns the annotation of a target that says what its source is, and its value without white space around it; annotation
// is empty if there is none.
func counting(annotations map[string]string) (annotation, value string) {
	for _, annotation := range targetAnnotations {
		value, ok := annotations[annotation]
		value = strings.TrimSpace(value)
		if ok && (annotation != InjectAPIServerCAAnnotation || value == "true") {
			return annotation, value
		}
	}
	return "", ""
}

// PaddedAnnotation returns the annotation of a target that says what its source is, if there is white space around its value, which
// caject leaves out and cert-manager's cainjector does not; or nothing.
func PaddedAnnotation(annotations map[string]string) string {
	annotation, value := counting(annotations)
	if annotation == "" || annotations[annotation] == value {
		return ""
	}
	return annotation
}

// PaddedMessage says in one line that there is white space around the value of an annotation.
func PaddedMessage(annotation string) string {
	return fmt.Sprintf("the white space around the value of annotation %s is left out; cert-manager's cainjector does not leave it out (write the value without it)", annotation)
}

// ParseReference reads what Reference.String writes. ok is false if text is not a source's.
func ParseReference(text string) (ref Reference, ok bool) {
	ref, problem := parseSource("source", text)
	return ref, problem == nil
}

// parseSource reads it from the value of annotation.
func parseSource(annotation, value string) (Reference, *Problem) {
	kind, rest, _ := strings.Cut(value, "/")
	switch {
	case value == string(APIServer):
		return Reference{Kind: APIServer}, nil
	case kind == string(Secret), kind == string(Certificate):
		return parseReference(SourceKind(kind), rest, annotation, value)
	}
	return Reference{}, malformed(annotation, value, "does not begin with a kind of source")
}

// parseReference reads namespace/name, which stands in the value of annotation.
func parseReference(kind SourceKind, text, annotation, value string) (Reference, *Problem) {
	namespace, name, slash := strings.Cut(text, "/")
	wrong := ""
	switch {
	case !slash:
		wrong = "has no slash"
		if text != value {
			wrong = "has no second slash"
		}
	case namespace == "":
		wrong = "has no namespace"
	case name == "":
		wrong = "has no name"
	case strings.Contains(name, "/"):
		wrong = "has more than one slash"
		if text != value {
			wrong = "has more than two slashes"
		}
	case len(validation.IsDNS1123Label(namespace)) > 0:
		wrong = "has a namespace that cannot exist"
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		wrong = "has a name that cannot exist"
	default:
		return Reference{Kind: kind, Namespace: namespace, Name: name}, nil
	}
	return Reference{}, malformed(annotation, value, wrong)
}

func malformed(annotation, value, wrong string) *Problem {
	form := "namespace/name"
	if annotation == InjectAnnotation {
		form = "secret/namespace/name, certificate/namespace/name or apiserver"
	}
	return &Problem{
		Reason: InvalidAnnotation,
		Detail: fmt.Sprintf("annotation %s: %q %s", annotation, shorten(value), wrong),
		Remedy: "write it as " + form,
	}
}

// shorten cuts a value that somebody else wrote to what fits in a message.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
