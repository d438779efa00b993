package cabundle

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"gomodules.xyz/jsonpatch/v2"
)

const (
	// maxTotalBytes is the most that the caBundles of one object may have in all, in bytes of PEM.
	maxTotalBytes = 1_000_000
	// maxObjectBytes is the most that an object may have after injection, in bytes of JSON. etcd takes requests of
	// 1.5 MiB by default (--max-request-bytes), and CRDs are stored as JSON.
	maxObjectBytes = 1_500_000
)

// Inject returns the JSON patch that fills the caBundle fields of object from source; it is empty when all is right
// already, and touches nothing but caBundle.
//
// Each field gets what combine (Merge or Replace) makes of what it holds and source. A field that holds no certificate
// (absent, or a placeholder) first gets what the same field of old holds; old is the object before an update, or nil.
// With an empty source (it could not be used) what was there stays, and a field for which that is no certificate either gets
// what combine makes of nothing: what is published of the source.
//
// An object that would come near etcd's limit loses certificates that source does not hold, the oldest first; dropped is
// the most that one of its fields has lost.
//
// The Problem, of reason SourceExpired or TargetTooLarge, says why source was not filled in. The patch may be non-empty
// all the same, if it restores what old held.
func Inject(now time.Time, object Object, old *Object, source Bundle, combine Combine) (patch []jsonpatch.Operation, dropped int, problem *Problem) {
	if !source.Empty() && source.Unexpired(now).Empty() {
		patch, _, _ = Inject(now, object, old, Bundle{}, combine)
		return patch, 0, Expired(source)
	}
	wanted := allDesired(now, object, old, source, combine)
	if object.takes(length(wanted)) {
		return object.patch(wanted), 0, nil
	}
	if source.Empty() {
		return nil, 0, object.tooLarge(wanted)
	}
	limit := object.room() / len(object.Fields)
	cut := allDesired(now, object, old, source, func(now time.Time, existing, source Bundle) Bundle {
		bundle, n := combine(now, existing, source).cutTo(limit, source)
		dropped = max(dropped, n)
		return bundle
	})
	if object.takes(length(cut)) {
		return object.patch(cut), dropped, nil
	}
	patch, _, _ = Inject(now, object, old, Bundle{}, combine)
	return patch, 0, object.tooLarge(cut)
}

// allDesired returns the PEM that each field of object should hold.
func allDesired(now time.Time, object Object, old *Object, source Bundle, combine Combine) [][]byte {
	wanted := make([][]byte, len(object.Fields))
	for i, field := range object.Fields {
		wanted[i] = desired(now, field, old, source, combine)
	}
	return wanted
}

// patch returns what puts wanted, PEM, into the fields of o.
func (o Object) patch(wanted [][]byte) []jsonpatch.Operation {
	var patch []jsonpatch.Operation
	for i, field := range o.Fields {
		if !bytes.Equal(wanted[i], field.CABundle) {
			patch = append(patch, jsonpatch.NewOperation("add", field.Path, base64.StdEncoding.EncodeToString(wanted[i])))
		}
	}
	return patch
}

// takes reports that total bytes of PEM in its fields do not make o larger than it may be. What does not grow is no worse than it was.
func (o Object) takes(total int) bool {
	growth := base64.StdEncoding.EncodedLen(total) - base64.StdEncoding.EncodedLen(o.held())
	return growth <= 0 || total <= maxTotalBytes && o.Size+growth <= maxObjectBytes
}

// room returns how many bytes of PEM the fields of o may hold in all.
func (o Object) room() int {
	rest := maxObjectBytes - (o.Size - base64.StdEncoding.EncodedLen(o.held()))
	return max(0, min(maxTotalBytes, base64.StdEncoding.DecodedLen(rest)-len(o.Fields)*len("====")))
}

// held returns how many bytes of PEM the fields of o hold in all.
func (o Object) held() int {
	total := 0
	for _, field := range o.Fields {
		total += len(field.CABundle)
	}
	return total
}

func length(all [][]byte) int {
	total := 0
	for _, one := range all {
		total += len(one)
	}
	return total
}

func (o Object) tooLarge(wanted [][]byte) *Problem {
	return &Problem{
		Reason: TargetTooLarge,
		Detail: fmt.Sprintf("with %d bytes of caBundle in %d places the object would come near etcd's limit",
			length(wanted), len(o.Fields)),
		Remedy: "keep only the CA certificates that are needed in the source, or split the object",
	}
}

// desired returns the PEM that field should hold.
func desired(now time.Time, field Field, old *Object, source Bundle, combine Combine) []byte {
	existing := ParseExisting(field.CABundle)
	placeholder := existing.Empty()
	if placeholder && old != nil {
		existing = ParseExisting(old.caBundle(field))
	}
	switch {
	case !source.Empty():
		combined := combine(now, existing, source)
		if combined.is(field.CABundle) {
			return field.CABundle
		}
		return combined.PEM()
	case !placeholder:
		return field.CABundle
	case existing.Empty():
		existing = combine(now, existing, source)
	}
	if existing.Empty() {
		return field.CABundle
	}
	return existing.PEM()
}

// caBundle returns what the field of o that is the same as field holds: items of a list are the same by name, not by place.
func (o Object) caBundle(field Field) []byte {
	for _, own := range o.Fields {
		if own.Webhook == field.Webhook && (field.Webhook != "" || own.Path == field.Path) {
			return own.CABundle
		}
	}
	return nil
}

// Expired is the Problem of a source that holds nothing but expired certificates.
func Expired(source Bundle) *Problem {
	return &Problem{
		Reason: SourceExpired,
		Detail: fmt.Sprintf("every certificate of the source has expired, the last one on %s",
			lastExpiry(source).UTC().Format(time.RFC3339)),
		Remedy: "renew it",
	}
}

func lastExpiry(b Bundle) time.Time {
	var last time.Time
	for _, certificate := range b.certificates {
		if certificate.NotAfter.After(last) {
			last = certificate.NotAfter
		}
	}
	return last
}

// NextExpiry returns when the first certificate that is now in object or source expires, or the zero time if none
// will: until then Inject says the same of the same object and source.
func NextExpiry(now time.Time, object Object, source Bundle) time.Time {
	all := slices.Clone(source.certificates)
	for _, field := range object.Fields {
		all = append(all, ParseExisting(field.CABundle).certificates...)
	}
	return Bundle{all}.Unexpired(now).FirstExpiry()
}
