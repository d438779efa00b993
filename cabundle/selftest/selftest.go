// Package selftest proves that a cluster injects: it has objects created that ask for injection, all in dry runs, and looks at what the API
// server answers. Nothing is stored.
//
// The caller needs the right to create objects of that kind. A webhook configuration is filled by policies alone, and these know only
// sources that another object names.
package selftest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/caject/caject/cabundle"
)

// fieldManager is the one under which objects are created.
const fieldManager = "caject-selftest"

// API is what is asked: cluster.Targets.
type API interface {
	TryCreate(ctx context.Context, kind cabundle.Kind, object []byte, manager string) (cabundle.Object, []string, error)
}

// Knows reports whether there is a test of kind.
func Knows(kind cabundle.Kind) bool { return manifests[kind] != nil }

// Try creates an object of kind in a dry run that names source, as the annotation caject.io/inject-ca-from has it. It returns what was
// injected; the error is why nothing was.
func Try(ctx context.Context, api API, kind cabundle.Kind, source string) (cabundle.Bundle, error) {
	manifest, err := manifestOf(kind, source)
	if err != nil {
		return cabundle.Bundle{}, err
	}
	object, warnings, err := api.TryCreate(ctx, kind, manifest, fieldManager)
	if err != nil {
		return cabundle.Bundle{}, err
	}
	for _, field := range object.Fields {
		if bundle := cabundle.ParseExisting(field.CABundle); !bundle.Empty() {
			return bundle, nil
		}
	}
	return cabundle.Bundle{}, fmt.Errorf("the API server answered without a caBundle %s", said(warnings))
}

// Called reports whether the API server reaches caject's webhook when an object of kind is created, in a dry run. kind is one that is
// admitted by webhooks.
func Called(ctx context.Context, api API, kind cabundle.Kind, source string) (bool, error) {
	manifest, err := manifestOf(kind, source)
	if err != nil {
		return false, err
	}
	_, warnings, err := api.TryCreate(ctx, kind, manifest, cabundle.ProbeFieldManager)
	return slices.Contains(warnings, cabundle.ProbeAnswer), err
}

func said(warnings []string) string {
	if len(warnings) == 0 {
		return "and without a warning: neither caject nor a policy has answered"
	}
	return "and said: " + strings.Join(warnings, "; ")
}

// manifestOf returns the JSON of an object of kind that names source.
func manifestOf(kind cabundle.Kind, source string) ([]byte, error) {
	if !Knows(kind) {
		return nil, fmt.Errorf("there is no test for %q", kind)
	}
	object := (&unstructured.Unstructured{Object: manifests[kind]}).DeepCopy()
	object.SetGroupVersionKind(kind.GroupVersionKind())
	object.SetAnnotations(map[string]string{cabundle.InjectAnnotation: source})
	return json.Marshal(object)
}
