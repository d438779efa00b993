package cabundle

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// maxReplaces is how many former values are published: targets that hold an older one are merged by resync.
	maxReplaces = 4
	// maxReplacesBytes is the most that the former values have in all. Each write of a target pays for what policies read.
	maxReplacesBytes = 128 << 10
	// maxFilledBytes is what a policy fills at most: base64 of the bundle times the number of places. The chart's policies
	// have the same number.
	maxFilledBytes = 1_000_000
)

// Published is what admission policies read of a source. They cannot decode a caBundle: they compare and copy its base64.
type Published struct {
	// CABundle is the PEM of the bundle in base64; empty if there is nothing to fill in.
	CABundle string
	// Replaces are former values of CABundle that targets may still hold, the latest last.
	Replaces []string
}

// Next returns what is published after p: bundle, with p's value among those that it replaces. tidy says that no target holds a
// former value any more.
func (p Published) Next(bundle Bundle, tidy bool) Published {
	if bundle.Empty() {
		return Published{}
	}
	next := Published{CABundle: base64.StdEncoding.EncodeToString(bundle.PEM())}
	if tidy && next.CABundle == p.CABundle {
		return next
	}
	size := 0
	for _, value := range slices.Backward(append(slices.Clone(p.Replaces), p.CABundle)) {
		if value == "" || value == next.CABundle || slices.Contains(next.Replaces, value) {
			continue
		}
		if size += len(value); size > maxReplacesBytes || len(next.Replaces) == maxReplaces {
			break
		}
		next.Replaces = append(next.Replaces, value)
	}
	slices.Reverse(next.Replaces)
	return next
}

// Fills reports whether a policy that reads p fills object: each of its places holds no certificate that a policy can see, or what is
// or was published, they are not too many, and the object does not come near etcd's limit.
func (p Published) Fills(object Object) bool {
	if p.CABundle == "" || len(object.Fields) == 0 || len(p.CABundle)*len(object.Fields) >= maxFilledBytes ||
		!object.takes(base64.StdEncoding.DecodedLen(len(p.CABundle))*len(object.Fields)) {
		return false
	}
	return !slices.ContainsFunc(object.Fields, func(field Field) bool {
		held := base64.StdEncoding.EncodeToString(field.CABundle)
		return !holdsNone(held) && held != p.CABundle && !slices.Contains(p.Replaces, held)
	})
}

// In reports whether object holds p in each of its places.
func (p Published) In(object Object) bool {
	return len(object.Fields) > 0 && !slices.ContainsFunc(object.Fields, func(field Field) bool {
		return base64.StdEncoding.EncodeToString(field.CABundle) != p.CABundle
	})
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
