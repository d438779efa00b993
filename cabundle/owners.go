package cabundle

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"gomodules.xyz/jsonpatch/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FieldManager is the name under which caject writes: LastManager never names it.
const FieldManager = "caject"

// A dry run under the field manager ProbeFieldManager asks whether the API server reaches caject's webhook, whichever replica it calls: the
// webhook answers with the warning ProbeAnswer, which the API server passes on.
const (
	ProbeFieldManager = "caject-probe"
	ProbeAnswer       = "caject was called"
)

// Manager is an entry of metadata.managedFields.
type Manager struct {
	Name      string
	Operation metav1.ManagedFieldsOperationType
	// Time is when the manager last changed what it owns; zero if that is not known.
	Time time.Time
	// Subresource is the one that was written, such as status; empty for the object itself.
	Subresource string
	// CABundle is true if it owns one: what the manager applies without it removes it, and what others apply conflicts with it.
	CABundle bool
	// Others is true if it owns something else as well.
	Others bool
}

// ParseManagers reads the entries of metadata.managedFields out of the JSON of an object of the given kind, in their order there.
func ParseManagers(kind Kind, raw []byte) []Manager {
	var managers []Manager
	row := kind.row()
	for _, entry := range gjson.GetBytes(raw, "metadata.managedFields").Array() {
		at, _ := time.Parse(time.RFC3339, entry.Get("time").String())
		owns, others := row.owned(entry.Get("fieldsV1"), "."+row.caBundle)
		managers = append(managers, Manager{
			Name:        entry.Get("manager").String(),
			Operation:   metav1.ManagedFieldsOperationType(entry.Get("operation").String()),
			Time:        at,
			Subresource: entry.Get("subresource").String(),
			CABundle:    owns && row.caBundle != "", // a kind that is none of ours has no place for one
			Others:      others,
		})
	}
	return managers
}

// owned reports whether fields, a part of an entry's fieldsV1, hold a caBundle, to which the path rest leads from there, and whether
// they hold anything else. For example, with the rest "[].clientConfig.caBundle", in
//
//	{"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:clientConfig": {"f:caBundle": {}, "f:url": {}}}}
//
// the item's caBundle and url are owned. That an item is there, and how it is named, is part of owning anything in it.
func (r *row) owned(fields gjson.Result, rest string) (caBundle, others bool) {
	if rest == "" {
		return true, false
	}
	inItem := strings.HasSuffix(strings.TrimSuffix(r.caBundle, rest), "[]")
	want, after := step(rest)
	empty := true
	fields.ForEach(func(key, value gjson.Result) bool {
		empty = false
		name := key.String()
		switch {
		case name == "." || inItem && name == "f:"+r.itemName:
		case name == want, want == "k:" && strings.HasPrefix(name, want):
			owns, more := r.owned(value, after)
			caBundle, others = caBundle || owns, others || more
		default:
			others = true
		}
		return true
	})
	return caBundle, others || empty // what holds nothing is owned for its own sake
}

// step returns the first step of a path as fieldsV1 spells it, f:name for a name and k: for any item of a list, and the path after it.
func step(path string) (first, after string) {
	if after, isList := strings.CutPrefix(path, "[]"); isList {
		return "k:", after
	}
	name := strings.TrimPrefix(path, ".")
	if end := strings.IndexAny(name, ".["); end >= 0 {
		return "f:" + name[:end], name[end:]
	}
	return "f:" + name, ""
}

// LastManager returns the name of the field manager, other than caject, that was the last to set a caBundle; if nobody owns one,
// of the last that wrote the object at all. It is "unknown" if there is none. Writes of a subresource do not count.
func LastManager(managers []Manager) string {
	var last Manager
	for _, manager := range managers {
		switch {
		case manager.Name == FieldManager || manager.Subresource != "" || manager.Time.IsZero():
		case last.Time.IsZero(), manager.CABundle && !last.CABundle, manager.CABundle == last.CABundle && last.Time.Before(manager.Time):
			last = manager
		}
	}
	if last.Name == "" {
		return "unknown"
	}
	return last.Name
}

// Disown returns the JSON patch that removes the entries by which injectors, given by name, own caBundles and nothing else; the
// values stay. If none were left, all stay: whoever applies an object that has no managers conflicts with a
// "before-first-apply".
func Disown(managers []Manager, injectors ...string) []jsonpatch.Operation {
	var patch []jsonpatch.Operation
	for i, manager := range slices.Backward(managers) { // so that the places of the others stay
		if manager.CABundle && !manager.Others && slices.Contains(injectors, manager.Name) {
			patch = append(patch, jsonpatch.NewOperation("remove", "/metadata/managedFields/"+strconv.Itoa(i), nil))
		}
	}
	if len(patch) == len(managers) {
		return nil
	}
	return patch
}
