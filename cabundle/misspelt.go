package cabundle

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// misspeltPattern matches keys that were meant to name a source: those of cert-manager before 0.11 (certmanager.k8s.io), in other case,
// with more or less at the end. It matches the right ones, too. The chart's expressions have the same (caject.misspelt in _helpers.tpl).
const misspeltPattern = `(?i)^(cert-?manager([.]k8s)?([.]io)?|caject([.]io)?)/inject[-_.]?(ca[-_.]?(from|form)?([-_.]?(secret|certificate)s?)?|api[-_.]?server[-_.]?ca([-_.]?from)?)$`

// meansTrue matches values of InjectAPIServerCAAnnotation that were meant to be "true". The chart has the same.
const meansTrue = `(?i)^(true|yes|y|on|1)$`

var (
	misspeltTrue   = regexp.MustCompile(meansTrue)
	misspeltSource = regexp.MustCompile(misspeltPattern)
	misspeltOptIn  = regexp.MustCompile(`(?i)^(cert-?manager([.]k8s)?([.]io)?|caject([.]io)?)/allow[-_.]?(direct[-_.]?)?injections?$`)
)

// MisspeltAnnotation returns the key of an annotation of a target that was meant to name its source, and what does: another key, or
// InjectAPIServerCAAnnotation with its value. It returns nothing if there is none, or if another annotation names a source: charts set both
// for old and new versions of cert-manager.
func MisspeltAnnotation(annotations map[string]string) (key, meant string) {
	if counts, _ := counting(annotations); counts != "" {
		return "", ""
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		switch {
		case key == InjectAPIServerCAAnnotation && misspeltTrue.MatchString(strings.TrimSpace(annotations[key])):
			return key, key + `: "true"`
		case misspeltSource.MatchString(key) && !AsksForInjection(key):
			return key, meantBy(strings.ToLower(key))
		}
	}
	return "", ""
}

// meantBy returns the right one for a misspelt key in lower case.
func meantBy(key string) string {
	switch {
	case strings.Contains(key, "caject"):
		return InjectAnnotation
	case strings.Contains(key, "secret"):
		return InjectCAFromSecretAnnotation
	case strings.Contains(key, "server"):
		return InjectAPIServerCAAnnotation
	}
	return InjectCAFromAnnotation
}

// MisspeltMessage says in one line that an annotation is not followed.
func MisspeltMessage(key, meant string) string {
	return fmt.Sprintf("annotation %s is not followed: it is %s (correct it)", key, meant)
}

// OptInMistake returns what the owner of a Secret has done in place of opting in with annotation: value, without quoting it; or nothing.
func OptInMistake(annotation, value string, annotations, labels map[string]string) string {
	if _, ok := annotations[annotation]; ok {
		return "the annotation has another value"
	}
	keys := []string{annotation}
	if annotation == AllowDirectInjectionAnnotation {
		keys = append(keys, AllowInjectionAnnotation)
	}
	for _, key := range keys {
		if labels[key] == value {
			return "it is set as a label, which does not count"
		}
	}
	if annotation != AllowDirectInjectionAnnotation {
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if misspeltOptIn.MatchString(key) && key != AllowInjectionAnnotation {
			return "annotation " + key + " does not count"
		}
	}
	return ""
}
