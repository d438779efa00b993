// Package version says which version a program is.
package version

import "runtime/debug"

// Of returns the version of this program: stamped, which the build has set, else what the Go module says, else devel.
func Of(stamped string) string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
