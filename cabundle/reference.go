package cabundle

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Annotations on targets. The first one that is configured wins; there is no fall-back to the next if its source
// cannot be used (as in cert-manager's cainjector).
const (
	// InjectCAFromSecretAnnotation names a Secret, namespace/name, that allows it with AllowDirectInjectionAnnotation.
	InjectCAFromSecretAnnotation = "cert-manager.io/inject-ca-from-secret"
	// InjectCAFromAnnotation names a Certificate of cert-manager, namespace/name.
	InjectCAFromAnnotation = "cert-manager.io/inject-ca-from"
	// InjectAPIServerCAAnnotation, exactly "true", asks for the CA of the API server.
	InjectAPIServerCAAnnotation = "cert-manager.io/inject-apiserver-ca"
)

// AsksForInjection reports that key is one of the annotations on targets.
func AsksForInjection(key string) bool {
	switch key {
	case InjectCAFromSecretAnnotation, InjectCAFromAnnotation, InjectAPIServerCAAnnotation:
		return true
	}
	return false
}

// Annotations on Secrets: the opt-in without which a Secret is never used.
const (
	// AllowDirectInjectionAnnotation must be exactly "true" on a Secret that a target names directly.
	AllowDirectInjectionAnnotation = "cert-manager.io/allow-direct-injection"
	// CertificateNameAnnotation must name the Certificate through which a target refers to the Secret.
	CertificateNameAnnotation = "cert-manager.io/certificate-name"
)

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
// The value is split at its first slash and is not trimmed. The first two annotations count as configured when the
// key is there, even with an empty value.
func ReferenceOf(annotations map[string]string) (ref Reference, ok bool, problem *Problem) {
	if value, ok := annotations[InjectCAFromSecretAnnotation]; ok {
		ref, problem := parseReference(Secret, InjectCAFromSecretAnnotation, value)
		return ref, true, problem
	}
	if value, ok := annotations[InjectCAFromAnnotation]; ok {
		ref, problem := parseReference(Certificate, InjectCAFromAnnotation, value)
		return ref, true, problem
	}
	if annotations[InjectAPIServerCAAnnotation] == "true" {
		return Reference{Kind: APIServer}, true, nil
	}
	return Reference{}, false, nil
}

func parseReference(kind SourceKind, annotation, value string) (Reference, *Problem) {
	namespace, name, slash := strings.Cut(value, "/")
	wrong := ""
	switch {
	case !slash:
		wrong = "has no slash"
	case namespace == "":
		wrong = "has no namespace"
	case name == "":
		wrong = "has no name"
	case strings.Contains(name, "/"):
		wrong = "has more than one slash"
	case len(validation.IsDNS1123Label(namespace)) > 0:
		wrong = "has a namespace that cannot exist"
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		wrong = "has a name that cannot exist"
	default:
		return Reference{Kind: kind, Namespace: namespace, Name: name}, nil
	}
	return Reference{}, &Problem{
		Reason: InvalidAnnotation,
		Detail: fmt.Sprintf("annotation %s: %q %s", annotation, shorten(value), wrong),
		Remedy: "write it as namespace/name",
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
