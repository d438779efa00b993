package certs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/caject/caject/cabundle"
)

func TestARequestSurvivesTheSecret(t *testing.T) {
	unexported := cmp.AllowUnexported(renewal{})
	for sentence, test := range map[string]struct {
		annotations map[string]string
		want        renewal
		again       map[string]string // what is written of it; annotations if nil
	}{
		"nothing":                        {map[string]string{}, renewal{}, nil},
		"a request":                      {map[string]string{renewAnnotation: "2026-06-01, ticket 7"}, renewal{request: "2026-06-01, ticket 7"}, nil},
		"no value":                       {map[string]string{renewAnnotation: ""}, renewal{}, map[string]string{}},
		"one was made":                   {map[string]string{renewAnnotation: "ticket 7", renewingAnnotation: "0f ticket 7"}, renewal{request: "ticket 7", made: "0f"}, nil},
		"one was made for another":       {map[string]string{renewAnnotation: "8", renewingAnnotation: "0f 7"}, renewal{request: "8"}, map[string]string{renewAnnotation: "8"}},
		"it was taken back":              {map[string]string{renewingAnnotation: "0f 7"}, renewal{}, map[string]string{}},
		"junk":                           {map[string]string{renewAnnotation: "8", renewingAnnotation: "8"}, renewal{request: "8"}, map[string]string{renewAnnotation: "8"}},
		"some are distrusted":            {map[string]string{cabundle.DistrustAnnotation: "aa,BB:CC"}, renewal{distrusted: []string{"aa", "BB:CC"}}, nil},
		"so, and somebody likes to type": {map[string]string{cabundle.DistrustAnnotation: " aa ,\n,bb,"}, renewal{distrusted: []string{"aa", "bb"}}, map[string]string{cabundle.DistrustAnnotation: "aa,bb"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := parseRenewal(test.annotations)
			if diff := cmp.Diff(test.want, got, unexported); diff != "" {
				t.Error(diff)
			}
			if test.again == nil {
				test.again = test.annotations
			}
			written := map[string]string{renewAnnotation: "x", renewingAnnotation: "x", cabundle.DistrustAnnotation: "x"}
			got.write(written)
			if diff := cmp.Diff(test.again, written); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAFingerprintInTheAnnotation(t *testing.T) {
	ca := newTestAuthority(t, now)
	fingerprint := ca.fingerprint()
	var colons []string
	for i := 0; i < len(fingerprint); i += 2 {
		colons = append(colons, strings.ToUpper(fingerprint[i:i+2]))
	}
	for sentence, test := range map[string]struct {
		entries string
		want    bool
	}{
		"as caject writes it": {fingerprint, true},
		"as openssl does":     {strings.Join(colons, ":"), true},
		"among others":        {"00," + fingerprint + ",11", true},
		"half of it":          {fingerprint[:32], false},
		"another one":         {newTestAuthority(t, now).fingerprint(), false},
		"none":                {"", false},
	} {
		r := parseRenewal(map[string]string{cabundle.DistrustAnnotation: test.entries})
		if got := r.distrusts(ca.certificate); got != test.want {
			t.Errorf("%s: distrusted is %v", sentence, got)
		}
		secret := secretOf(t, ca)
		secret.Annotations[cabundle.DistrustAnnotation] = test.entries
		if _, err := parseAuthority(now, secret); (err == nil) == test.want {
			t.Errorf("%s: read as a CA, the error is %v", sentence, err)
		}
		if again := r.distrusting(ca.certificate); !again.distrusts(ca.certificate) || len(again.distrusted) == len(r.distrusted) != test.want {
			t.Errorf("%s: it becomes %v", sentence, again.distrusted)
		}
	}
}

func TestANextCAThatIsDistrustedIsNone(t *testing.T) {
	ca := newTestAuthority(t, now)
	next := newTestAuthority(t, now)
	ca.next, ca.trusted = &next.pair, bundleOf(ca.certificate, next.certificate)
	secret := secretOf(t, ca)
	secret.Annotations[cabundle.DistrustAnnotation] = next.fingerprint()
	if got, err := parseAuthority(now, secret); err != nil || got.next != nil {
		t.Errorf("next is %v, %v", got.next, err)
	}
}

func TestWhatMemoryDistrustsIsWrong(t *testing.T) {
	ca, memory := newTestAuthority(t, now), newTestAuthority(t, now)
	found := parseContent(now, secretOf(t, ca))
	if got := found.distrustedBy(nil); got.wrong != nil {
		t.Error(got.wrong)
	}
	if got := found.distrustedBy(memory); got.wrong != nil {
		t.Error(got.wrong)
	}
	memory.renewal = memory.distrusting(ca.certificate)
	if got := found.distrustedBy(memory); got.wrong == nil || got.authority != nil {
		t.Errorf("it is %+v", got)
	}
	if got := parseContent(now, &corev1.Secret{}).distrustedBy(memory); got.wrong != errNoAuthority {
		t.Error(got.wrong)
	}
}
