package cabundle

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"gomodules.xyz/jsonpatch/v2"
)

// Manager is an entry of metadata.managedFields.
type Manager struct {
	Name string
	// CABundle says that it owns one: what the manager applies without it removes it, and what others apply conflicts with it.
	CABundle bool
}

// ParseManagers reads the entries of metadata.managedFields out of an object's JSON, in their order there.
func ParseManagers(raw []byte) []Manager {
	var managers []Manager
	for _, entry := range gjson.GetBytes(raw, "metadata.managedFields").Array() {
		managers = append(managers, Manager{
			Name:     entry.Get("manager").String(),
			CABundle: strings.Contains(entry.Get("fieldsV1").Raw, `"f:caBundle"`),
		})
	}
	return managers
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
