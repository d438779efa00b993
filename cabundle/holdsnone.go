package cabundle

import (
	"slices"
	"strings"
)

// How base64 can spell the first and the last line of a certificate, whatever stands around it: one spelling for each place of the
// line's first byte among the three that four characters spell. The chart's policies have the same (caject.holdsNone in _cel.tpl).
var (
	firstLines = []string{
		"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
		"0tLS0tQkVHSU4gQ0VSVElGSUNBVEUtLS0tL",
		"tLS0tLUJFR0lOIENFUlRJRklDQVRFLS0tLS",
	}
	lastLines = []string{
		"LS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tL",
		"0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS",
		"tLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0t",
	}
)

// holdsNone reports whether a policy takes a caBundle field for one without a certificate, as absent or a placeholder; held is what the
// field holds, in base64. It is true of nothing that ParseExisting finds a certificate in. It is false of some that there is none in: a
// policy cannot decode what stands between the two lines.
func holdsNone(held string) bool {
	in := func(line string) bool { return strings.Contains(held, line) }
	return !slices.ContainsFunc(firstLines, in) || !slices.ContainsFunc(lastLines, in)
}
