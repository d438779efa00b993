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
			if got := Replaces(test.Annotations); got != test.Replaces && annotated {
				t.Errorf("it is to replace: %t", got)
			}
			if got := UnknownMode(test.Annotations); (got != "") != test.OtherMode {
				t.Errorf("the mode is said to be %q", got)
			}
			if key, meant := MisspeltAnnotation(test.Annotations); key != test.Misspelt || meant != test.Meant {
				t.Errorf("%q is taken for %q", key, meant)
			}
		})
	}
}

func TestWhatIsDoneInPlaceOfAnOptIn(t *testing.T) {
	type set = map[string]string
	tests := map[string]struct {
		annotation, value   string
		annotations, labels set
		want                string
	}{
		"nothing":                        {AllowDirectInjectionAnnotation, "true", nil, nil, ""},
		"other annotations and labels":   {AllowDirectInjectionAnnotation, "true", set{"a": "true"}, set{"b": "true"}, ""},
		"True":                           {AllowDirectInjectionAnnotation, "true", set{AllowDirectInjectionAnnotation: "True"}, nil, "the annotation has another value"},
		"a label":                        {AllowDirectInjectionAnnotation, "true", nil, set{AllowDirectInjectionAnnotation: "true"}, "it is set as a label, which does not count"},
		"a label of the other word":      {AllowDirectInjectionAnnotation, "true", nil, set{AllowInjectionAnnotation: "true"}, "it is set as a label, which does not count"},
		"a label that is false":          {AllowDirectInjectionAnnotation, "true", nil, set{AllowDirectInjectionAnnotation: "false"}, ""},
		"of cert-manager 0.10":           {AllowDirectInjectionAnnotation, "true", set{"certmanager.k8s.io/allow-direct-injection": "true"}, nil, "annotation certmanager.k8s.io/allow-direct-injection does not count"},
		"not direct":                     {AllowDirectInjectionAnnotation, "true", set{"caject.io/allow-injection": "true"}, nil, "annotation caject.io/allow-injection does not count"},
		"another Certificate":            {CertificateNameAnnotation, "a", set{CertificateNameAnnotation: "b"}, nil, "the annotation has another value"},
		"a Certificate, as a label":      {CertificateNameAnnotation, "a", nil, set{CertificateNameAnnotation: "a"}, "it is set as a label, which does not count"},
		"the opt-in that is not its own": {CertificateNameAnnotation, "a", set{"certmanager.k8s.io/allow-direct-injection": "true"}, nil, ""},
	}
	for sentence, test := range tests {
		if got := OptInMistake(test.annotation, test.value, test.annotations, test.labels); got != test.want {
			t.Errorf("%s: %q", sentence, got)
		}
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
