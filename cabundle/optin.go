package cabundle

import "strings"

// Annotations on Secrets: the opt-in without which a Secret is never used. White space around a value does not count.
const (
	// AllowDirectInjectionAnnotation must be exactly "true" on a Secret that a target names directly.
	AllowDirectInjectionAnnotation = "cert-manager.io/allow-direct-injection"
	// AllowInjectionAnnotation is another word for it. Where both stand, that of cert-manager's counts.
	AllowInjectionAnnotation = "caject.io/allow-direct-injection"
	// CertificateNameAnnotation must name the Certificate through which a target refers to the Secret.
	CertificateNameAnnotation = "cert-manager.io/certificate-name"
)

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
	for _, annotation := range []string{AllowDirectInjectionAnnotation, AllowInjectionAnnotation, CertificateNameAnnotation} {
		if value := annotations[annotation]; value != strings.TrimSpace(value) {
			return annotation
		}
	}
	return ""
}
