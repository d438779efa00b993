package audit

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Ignore says which issues are known and meant.
type Ignore struct {
	code   Code
	object *regexp.Regexp // nil for all
}

// ParseIgnore reads CODE or CODE=OBJECT. In OBJECT * stands for any text, slashes included, and ? for one character. Case does not count.
func ParseIgnore(text string) (Ignore, error) {
	word, glob, some := strings.Cut(text, "=")
	at := slices.IndexFunc(kinds, func(kind struct {
		code     Code
		severity Severity
	}) bool {
		return strings.EqualFold(string(kind.code), word)
	})
	if at < 0 {
		return Ignore{}, fmt.Errorf("there is no code %q: %s has all", word, page)
	}
	ignore := Ignore{code: kinds[at].code}
	if some {
		pattern := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(glob))
		ignore.object = regexp.MustCompile("(?is)^" + pattern + "$") // of a quoted text nothing is left to go wrong
	}
	return ignore, nil
}

// Split returns the issues that none of ignores covers, and how many one does.
func Split(issues []Issue, ignores []Ignore) (left []Issue, ignored int) {
	left = slices.DeleteFunc(slices.Clone(issues), func(one Issue) bool {
		return slices.ContainsFunc(ignores, func(ignore Ignore) bool {
			return ignore.code == one.Code && (ignore.object == nil || ignore.object.MatchString(one.Object))
		})
	})
	return left, len(issues) - len(left)
}
