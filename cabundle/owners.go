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
}

// ParseManagers reads the entries of metadata.managedFields out of the JSON of an object of the given kind, in their order there.
func ParseManagers(kind Kind, raw []byte) []Manager {
	var managers []Manager
	for _, entry := range gjson.GetBytes(raw, "metadata.managedFields").Array() {
		at, _ := time.Parse(time.RFC3339, entry.Get("time").String())
		managers = append(managers, Manager{
			Name:        entry.Get("manager").String(),
			Operation:   metav1.ManagedFieldsOperationType(entry.Get("operation").String()),
			Time:        at,
			Subresource: entry.Get("subresource").String(),
			CABundle:    strings.Contains(entry.Get("fieldsV1").Raw, `"f:caBundle"`),
		})
	}
	return managers
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

// Disown returns the JSON patch that removes the entries by which injectors, given by name, own a caBundle; the values stay.
// An injector owns nothing but caBundles, so its entries go as a whole. If none were left, all stay: whoever applies an
// object that has no managers conflicts with a "before-first-apply".
func Disown(managers []Manager, injectors ...string) []jsonpatch.Operation {
	var patch []jsonpatch.Operation
	for i, manager := range slices.Backward(managers) { // so that the places of the others stay
		if manager.CABundle && slices.Contains(injectors, manager.Name) {
			patch = append(patch, jsonpatch.NewOperation("remove", "/metadata/managedFields/"+strconv.Itoa(i), nil))
		}
	}
	if len(patch) == len(managers) {
		return nil
	}
	return patch
}
