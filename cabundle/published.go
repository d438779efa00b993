package cabundle

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Placeholder is what many manifests carry for a caBundle that somebody else is to fill: a line end, in base64.
const Placeholder = "Cg=="

// maxReplaces is how many former values a published bundle remembers: targets that hold an older one are merged by resync.
const maxReplaces = 4

// Published is what caject publishes of a source for admission policies, which cannot decode a caBundle: they compare and
// copy its base64.
type Published struct {
	// CABundle is the PEM of the bundle in base64; empty if there is nothing to fill in.
	CABundle string
	// Replaces are former values of CABundle that targets may still hold, the latest last.
	Replaces []string
}

// Publish returns what is to be published of a source after before: combine's result of what was published and source, so
// that a CA that is being rotated out stays beside its successor. It is cut to MaxSourceBytes, the oldest first that the source
// does not hold any more; dropped is how many certificates that has cost.
//
// problem is why the source cannot be used, or nil. Then what was published stays, unless its owner does not allow it (any
// more), or the operator: then nothing is.
func Publish(now time.Time, before Published, source Bundle, problem *Problem, combine Combine) (after Published, dropped int) {
	if problem != nil {
		if problem.Withdrawn() {
			return Published{}, 0
		}
		return before, 0
	}
	if source.Unexpired(now).Empty() {
		return before, 0
	}
	bundle, dropped := combine(now, before.Bundle(), source).cutTo(MaxSourceBytes, source)
	after.CABundle = base64.StdEncoding.EncodeToString(bundle.PEM())
	after.Replaces = before.Replaces
	if before.CABundle != "" && before.CABundle != after.CABundle {
		after.Replaces = append(slices.Clone(before.Replaces), before.CABundle)
	}
	seen := map[string]bool{after.CABundle: true}
	after.Replaces = slices.DeleteFunc(slices.Clone(after.Replaces), func(value string) bool {
		double := seen[value]
		seen[value] = true
		return double
	})
	if surplus := len(after.Replaces) - maxReplaces; surplus > 0 {
		after.Replaces = after.Replaces[surplus:]
	}
	return after, dropped
}

// Bundle returns the certificates of CABundle.
func (p Published) Bundle() Bundle {
	decoded, err := base64.StdEncoding.DecodeString(p.CABundle)
	if err != nil {
		return Bundle{}
	}
	return ParseExisting(decoded)
}

// PublishedName returns the name of the object that publishes the source: its String with dots for slashes. A namespace has
// no dots, so no two sources share one. Over 253 characters it is cut, and a hash put behind.
func (r Reference) PublishedName() string {
	name := strings.ReplaceAll(r.String(), "/", ".")
	if len(name) <= validation.DNS1123SubdomainMaxLength {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:8])
	return strings.TrimRight(name[:validation.DNS1123SubdomainMaxLength-1-len(hash)], ".-") + "-" + hash
}

// ParsePublishedSource is the reverse of String. ok is false if text is not a source's.
func ParsePublishedSource(text string) (ref Reference, ok bool) {
	if text == string(APIServer) {
		return Reference{Kind: APIServer}, true
	}
	kind, rest, _ := strings.Cut(text, "/")
	if SourceKind(kind) != Secret && SourceKind(kind) != Certificate {
		return Reference{}, false
	}
	ref, problem := parseReference(SourceKind(kind), "source", rest)
	return ref, problem == nil
}
