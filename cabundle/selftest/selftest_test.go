package selftest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/caject/caject/cabundle"
)

// api answers with what it is given, and these warnings.
type api struct {
	warnings []string
	err      error
	manager  string // that was used
}

func (a *api) TryCreate(_ context.Context, kind cabundle.Kind, object []byte, manager string) (cabundle.Object, []string, error) {
	a.manager = manager
	return cabundle.ParseObject(kind, object), a.warnings, a.err
}

// TestEachObjectHasAPlaceForACABundle, and names the source.
func TestEachObjectHasAPlaceForACABundle(t *testing.T) {
	for kind := range manifests {
		raw, err := manifestOf(kind, "secret/a/b")
		if err != nil {
			t.Fatal(err)
		}
		object := cabundle.ParseObject(kind, raw)
		ref, annotated, problem := cabundle.ReferenceOf(object.Annotations)
		if len(object.Fields) != 1 || !annotated || problem != nil || ref.String() != "secret/a/b" {
			t.Errorf("%s: %d places, source %s, %v", kind, len(object.Fields), ref, problem)
		}
	}
}

func TestCalled(t *testing.T) {
	for sentence, test := range map[string]struct {
		api    *api
		kind   cabundle.Kind
		called bool
		err    string
	}{
		"the webhook has answered":     {&api{warnings: []string{"other", cabundle.ProbeAnswer}}, cabundle.CustomResourceDefinition, true, ""},
		"nobody has":                   {&api{}, cabundle.APIService, false, ""},
		"somebody else has":            {&api{warnings: []string{"other"}}, cabundle.APIService, false, ""},
		"the API server refuses it":    {&api{err: errors.New("forbidden")}, cabundle.APIService, false, "forbidden"},
		"a kind that there is no test": {&api{}, cabundle.ValidatingWebhookConfiguration, false, "there is no test"},
	} {
		t.Run(sentence, func(t *testing.T) {
			called, err := Called(t.Context(), test.api, test.kind, "apiserver")
			if called != test.called || (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%t, %v", called, err)
			}
			if err == nil && test.api.manager != cabundle.ProbeFieldManager {
				t.Errorf("the field manager is %s", test.api.manager)
			}
		})
	}
}
