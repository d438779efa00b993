package cabundle

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// Annotations on Secrets: the opt-in without which a Secret is never used. White space around a value does not count.
const (
	// AllowDirectInjectionAnnotation must be exactly "true" on a Secret that a target names directly.
	AllowDirectInjectionAnnotation = "cert-manager.io/allow-direct-injection"
	// AllowInjectionAnnotation is another word for it. Where both stand, that of cert-manager's counts.
	AllowInjectionAnnotation = "caject.io/allow-direct-injection"
	// CertificateNameAnnotation must name the Certificate through which a target refers to the Secret.
	CertificateNameAnnotation = "cert-manager.io/certificate-name"
)

// optInAnnotations are all of those.
var optInAnnotations = []string{AllowDirectInjectionAnnotation, AllowInjectionAnnotation, CertificateNameAnnotation}

// OptIns returns those annotations of a Secret by which it opts in. secret is its JSON, of which nothing else is read.
func OptIns(secret []byte) map[string]string {
	return annotationsOf(gjson.GetBytes(secret, "metadata"), func(key string) bool { return slices.Contains(optInAnnotations, key) })
}

// AllowsDirectInjection reports whether the annotations of a Secret let targets name it directly. The chart's hints say the same in
// CEL (hints.yaml).
func AllowsDirectInjection(annotations map[string]string) bool {
	value, ok := annotations[AllowDirectInjectionAnnotation]
	if !ok {
		value = annotations[AllowInjectionAnnotation]
	}
	return strings.TrimSpace(value) == "true"
}

// CertificateName returns the Certificate that the annotations of a Secret name, or nothing.
func CertificateName(annotations map[string]string) string {
	return strings.TrimSpace(annotations[CertificateNameAnnotation])
}

// PaddedOptIn returns the first of a Secret's annotations that opt in whose value has white space around it, which caject leaves out
// and cert-manager's cainjector does not; or nothing.
func PaddedOptIn(annotations map[string]string) string {
	for _, annotation := range optInAnnotations {
		if value := annotations[annotation]; value != strings.TrimSpace(value) {
			return annotation
		}
	}
	return ""
}
