package cabundle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReferenceOf(t *testing.T) {
	const fromSecret, from, fromAPIServer = InjectCAFromSecretAnnotation, InjectCAFromAnnotation, InjectAPIServerCAAnnotation
	tests := map[string]struct {
		annotations map[string]string
		want        Reference
		annotated   bool
		invalid     string // part of the problem
	}{
		"no annotations":                           {nil, Reference{}, false, ""},
		"others":                                   {map[string]string{"a": "b"}, Reference{}, false, ""},
		"a Secret":                                 {map[string]string{fromSecret: "ns/name"}, Reference{Secret, "ns", "name"}, true, ""},
		"a Certificate":                            {map[string]string{from: "ns/name"}, Reference{Certificate, "ns", "name"}, true, ""},
		"the API server":                           {map[string]string{fromAPIServer: "true"}, Reference{Kind: APIServer}, true, ""},
		"the API server, False":                    {map[string]string{fromAPIServer: "True"}, Reference{}, false, ""},
		"the API server, empty":                    {map[string]string{fromAPIServer: ""}, Reference{}, false, ""},
		"the Secret wins over the rest":            {map[string]string{fromSecret: "ns/s", from: "ns/c", fromAPIServer: "true"}, Reference{Secret, "ns", "s"}, true, ""},
		"the Certificate wins over API":            {map[string]string{from: "ns/c", fromAPIServer: "true"}, Reference{Certificate, "ns", "c"}, true, ""},
		"no fall-back from a malformed Secret":     {map[string]string{fromSecret: "", from: "ns/c"}, Reference{}, true, "has no slash"},
		"no fall-back from a malformed Certifcate": {map[string]string{from: "x", fromAPIServer: "true"}, Reference{}, true, "has no slash"},
		"a name with dots":                         {map[string]string{fromSecret: "ns/a.b.c"}, Reference{Secret, "ns", "a.b.c"}, true, ""},
		"no slash":                                 {map[string]string{fromSecret: "name"}, Reference{}, true, "has no slash"},
		"no namespace":                             {map[string]string{fromSecret: "/name"}, Reference{}, true, "has no namespace"},
		"no name":                                  {map[string]string{from: "ns/"}, Reference{}, true, "has no name"},
		"nothing but a slash":                      {map[string]string{from: "/"}, Reference{}, true, "has no namespace"},
		"more than one slash":                      {map[string]string{from: "a/b/c"}, Reference{}, true, "has more than one slash"},
		"white space is not trimmed":               {map[string]string{from: " ns/name"}, Reference{}, true, "namespace that cannot exist"},
		"white space behind":                       {map[string]string{from: "ns/name\n"}, Reference{}, true, "name that cannot exist"},
		"an unresolved variable":                   {map[string]string{from: "$(NS)/$(NAME)"}, Reference{}, true, "namespace that cannot exist"},
		"a path":                                   {map[string]string{from: "ns/.."}, Reference{}, true, "name that cannot exist"},
		"an escape":                                {map[string]string{from: "ns/a%2fb"}, Reference{}, true, "name that cannot exist"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			got, annotated, problem := ReferenceOf(test.annotations)
			if annotated != test.annotated {
				t.Errorf("annotated is %v", annotated)
			}
			if test.invalid != "" {
				if problem == nil || problem.Reason != InvalidAnnotation || !problem.Final() || !strings.Contains(problem.Detail, test.invalid) {
					t.Errorf("problem is %+v, not …%s…", problem, test.invalid)
				}
			} else if problem != nil {
				t.Errorf("problem is %v", problem)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLongAnnotationsAreCutInMessages(t *testing.T) {
	_, _, problem := ReferenceOf(map[string]string{InjectCAFromAnnotation: strings.Repeat("ä", 100_000)})
	if problem == nil || len(problem.Error()) > 500 {
		t.Errorf("problem has %d bytes", len(problem.Error()))
	}
}
