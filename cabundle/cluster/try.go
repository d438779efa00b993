package cluster

import (
	"context"
	"fmt"

	"github.com/tidwall/gjson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/caject/caject/cabundle"
)

// TryCreate has object, the JSON of a new one of kind, admitted in a dry run under a field manager. It returns what would be stored, and the
// warnings that the API server gives beside it. Nothing is written.
func (t *Targets) TryCreate(ctx context.Context, kind cabundle.Kind, object []byte, manager string) (cabundle.Object, []string, error) {
	resource := kind.Resource()
	result := t.rest.Post().
		AbsPath("apis", resource.Group, resource.Version, resource.Resource).
		Param("fieldManager", manager).
		Param("dryRun", metav1.DryRunAll).
		SetHeader("Content-Type", "application/json").
		WarningHandlerWithContext(rest.NoWarnings{}). // they are returned
		Body(object).
		Do(ctx)
	raw, err := answer(result)
	if err != nil {
		return cabundle.Object{}, nil, fmt.Errorf("create %s in a dry run: %w", gjson.GetBytes(object, "metadata.name"), err)
	}
	var warnings []string
	for _, warning := range result.Warnings() {
		warnings = append(warnings, warning.Text)
	}
	return cabundle.ParseObject(kind, raw), warnings, nil
}
