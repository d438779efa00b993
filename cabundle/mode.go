package cabundle

import (
	"fmt"
	"strings"
)

// ModeAnnotation, on a target, says what becomes of the certificates that its caBundles hold and its source does not: "merge", as without
// the annotation, or "replace". It is caject's own. White space around the value does not count.
const ModeAnnotation = "caject.io/inject-mode"

const modeMerge, modeReplace = "merge", "replace"

// DecidesInjection reports whether an annotation of a target named key says what is injected, or how.
func DecidesInjection(key string) bool { return AsksForInjection(key) || key == ModeAnnotation }

// Replaces reports whether annotations of a target ask for what the source holds now and nothing else. The chart's policies say the same
// in CEL (caject.replaces in _cel.tpl): they leave such a target alone, for what they fill in is what was merged.
func Replaces(annotations map[string]string) bool {
	return strings.TrimSpace(annotations[ModeAnnotation]) == modeReplace
}

// UnknownMode returns the value of ModeAnnotation, if it has no meaning; then it counts as "merge". Else it returns nothing.
func UnknownMode(annotations map[string]string) string {
	value, ok := annotations[ModeAnnotation]
	if mode := strings.TrimSpace(value); !ok || mode == modeMerge || mode == modeReplace {
		return ""
	}
	return fmt.Sprintf("%q", shorten(value))
}

// UnknownModeMessage says in one line that the value of ModeAnnotation, as UnknownMode returns it, has no meaning.
func UnknownModeMessage(value string) string {
	return fmt.Sprintf("annotation %s: %s is neither %q nor %q; certificates are merged (correct it)", ModeAnnotation, value, modeMerge, modeReplace)
}

// For returns r as they are for a target with annotations: it may ask for what its source holds and nothing else.
func (r Rules) For(annotations map[string]string) Rules {
	r.Replace = r.Replace || Replaces(annotations)
	return r
}
