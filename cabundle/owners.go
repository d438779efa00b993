package cabundle

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"gomodules.xyz/jsonpatch/v2"
)

// Owner is an entry of metadata.managedFields that owns a caBundle: what its field manager applies without it removes
// it, and what others apply conflicts with it.
type Owner struct {
	// Manager is the name of the field manager.
	Manager string
	// Index is the place of the entry in metadata.managedFields.
	Index int
}

// ParseOwners reads the owners of caBundles out of an object's JSON, in their order there.
func ParseOwners(raw []byte) []Owner {
	var owners []Owner
	for i, entry := range gjson.GetBytes(raw, "metadata.managedFields").Array() {
		if strings.Contains(entry.Get("fieldsV1").Raw, `"f:caBundle"`) {
			owners = append(owners, Owner{Manager: entry.Get("manager").String(), Index: i})
		}
	}
	return owners
}

// Disown returns the JSON patch that removes those of owners whose manager is named; the values stay. An injector owns
// nothing but caBundles, so its entries go as a whole.
func Disown(owners []Owner, manager string) []jsonpatch.Operation {
	var patch []jsonpatch.Operation
	for _, owner := range slices.Backward(owners) { // so that the places of the others stay
		if owner.Manager == manager {
			patch = append(patch, jsonpatch.NewOperation("remove", "/metadata/managedFields/"+strconv.Itoa(owner.Index), nil))
		}
	}
	return patch
}
