package cabundle

import (
	"strings"
	"testing"

	"github.com/caject/caject/cabundle/cabundletest"
)

func TestReferenceOf(t *testing.T) {
	for sentence, test := range cabundletest.Annotations {
		t.Run(sentence, func(t *testing.T) {
			got, annotated, problem := ReferenceOf(test.Annotations)
			if want := test.Source != "" || test.Invalid != ""; annotated != want {
				t.Errorf("annotated is %v", annotated)
			}
			switch {
			case test.Invalid == "" && problem != nil:
				t.Errorf("problem is %v", problem)
			case test.Invalid != "" && (problem == nil || problem.Reason != InvalidAnnotation || !problem.Final() || !strings.Contains(problem.Detail, test.Invalid)):
				t.Errorf("problem is %+v, not …%s…", problem, test.Invalid)
			case test.Source == "" && got != (Reference{}), test.Source != "" && got.String() != test.Source:
				t.Errorf("it names %q", got)
			}
			if got := PaddedAnnotation(test.Annotations); got != test.Padded {
				t.Errorf("white space is seen around the value of %q", got)
			}
		})
	}
}

func TestOptIns(t *testing.T) {
	for sentence, test := range cabundletest.OptIns {
		t.Run(sentence, func(t *testing.T) {
			if got := AllowsDirectInjection(test.Annotations); got != test.Directly {
				t.Errorf("direct injection is allowed: %v", got)
			}
			if got := CertificateName(test.Annotations); got != test.Certificate {
				t.Errorf("it belongs to Certificate %q", got)
			}
			if got := PaddedOptIn(test.Annotations); got != test.Padded {
				t.Errorf("white space is seen around the value of %q", got)
			}
		})
	}
}

func TestTheWayOutOfAMalformedAnnotation(t *testing.T) {
	for annotation, want := range map[string]string{
		InjectCAFromSecretAnnotation: "write it as namespace/name",
		InjectCAFromAnnotation:       "write it as namespace/name",
		InjectAnnotation:             "write it as secret/namespace/name, certificate/namespace/name or apiserver",
	} {
		_, _, problem := ReferenceOf(map[string]string{annotation: "x"})
		if problem == nil || problem.Remedy != want {
			t.Errorf("%s: the problem is %v", annotation, problem)
		}
	}
}

func TestLongAnnotationsAreCutInMessages(t *testing.T) {
	_, _, problem := ReferenceOf(map[string]string{InjectCAFromAnnotation: strings.Repeat("ä", 100_000)})
	if problem == nil || len(problem.Error()) > 500 {
		t.Errorf("problem has %d bytes", len(problem.Error()))
	}
}
