package survey

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/caject/caject/cabundle"
)

// shortNames are what people call the kinds beside their own names: those of the API server, and what else is in use.
var shortNames = map[string]cabundle.Kind{
	"mwc": cabundle.MutatingWebhookConfiguration, "mutating": cabundle.MutatingWebhookConfiguration,
	"vwc": cabundle.ValidatingWebhookConfiguration, "validating": cabundle.ValidatingWebhookConfiguration,
	"crd": cabundle.CustomResourceDefinition, "crds": cabundle.CustomResourceDefinition,
}

// ParseKind reads a kind as kubectl does: kind, plural or a short name, in any case, with the group behind it or without. ok is false
// for a kind that carries no caBundle.
func ParseKind(text string) (kind cabundle.Kind, ok bool) {
	name, group, grouped := strings.Cut(strings.ToLower(text), ".")
	for _, kind := range cabundle.Kinds() {
		resource := kind.Resource()
		if grouped && group != resource.Group && group != resource.Version+"."+resource.Group {
			continue
		}
		if name == resource.Resource || name == strings.ToLower(string(kind)) || shortNames[name] == kind {
			return kind, true
		}
	}
	return "", false
}

// Argument returns what names a target on a command line: validatingwebhookconfiguration/NAME.
func Argument(target cabundle.Target) string {
	return strings.ToLower(string(target.Kind)) + "/" + target.Name
}

// Selection says which targets are wanted. The zero value is all annotated ones.
type Selection struct {
	// Kinds, if there are any, are the only ones.
	Kinds []cabundle.Kind
	// Named are wanted beside those of Kinds, annotated or not.
	Named []cabundle.Target
	// Namespace, if it is not empty, is that of the sources.
	Namespace string
	// States, if there are any, are the only ones.
	States []State
}

// ParseSelection reads arguments: KIND, KIND/NAME, or KIND followed by names, as kubectl get takes them; several kinds may be
// joined by commas. Without arguments all is selected.
func ParseSelection(args []string) (Selection, error) {
	var selection Selection
	if len(args) > 1 && !strings.ContainsAny(args[0], "/,") && !slices.ContainsFunc(args[1:], isKindOrSlash) {
		kind, ok := ParseKind(args[0])
		if !ok {
			return selection, unknownKind(args[0])
		}
		for _, name := range args[1:] {
			if len(content.IsPathSegmentName(name)) > 0 {
				return selection, fmt.Errorf("%q cannot be a name", name)
			}
			selection.Named = append(selection.Named, cabundle.Target{Kind: kind, Name: name})
		}
		return selection, nil
	}
	for _, arg := range args {
		text, name, named := strings.Cut(arg, "/")
		if named && (name == "" || len(content.IsPathSegmentName(name)) > 0) {
			return selection, fmt.Errorf("%q is not KIND/NAME", arg)
		}
		for text := range strings.SplitSeq(text, ",") {
			kind, ok := ParseKind(text)
			switch {
			case !ok:
				return selection, unknownKind(text)
			case named:
				selection.Named = append(selection.Named, cabundle.Target{Kind: kind, Name: name})
			default:
				selection.Kinds = append(selection.Kinds, kind)
			}
		}
	}
	return selection, nil
}

func isKindOrSlash(arg string) bool {
	_, isKind := ParseKind(arg)
	return isKind || strings.ContainsAny(arg, "/,")
}

func unknownKind(text string) error {
	names := make([]string, 0, len(cabundle.Kinds()))
	for _, kind := range cabundle.Kinds() {
		names = append(names, strings.ToLower(string(kind)))
	}
	return fmt.Errorf("%q carries no caBundle that caject fills: it is one of %s", text, strings.Join(names, ", "))
}

// kinds returns those that have to be listed.
func (s Selection) kinds() []cabundle.Kind {
	if len(s.Kinds) == 0 && len(s.Named) == 0 {
		return cabundle.Kinds()
	}
	return slices.DeleteFunc(cabundle.Kinds(), func(kind cabundle.Kind) bool { return !slices.Contains(s.Kinds, kind) })
}

// wants reports whether finding is wanted, its kind and name aside.
func (s Selection) wants(finding *Finding) bool {
	return (s.Namespace == "" || finding.Reference.Namespace == s.Namespace) &&
		(len(s.States) == 0 || slices.Contains(s.States, finding.State))
}
