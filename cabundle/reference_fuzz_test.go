package cabundle_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// FuzzReferenceOf: what is read from an annotation is what was written there, or it is refused with a message of bounded size.
func FuzzReferenceOf(f *testing.F) {
	for _, manifest := range manifests(f) {
		var object struct {
			Metadata struct{ Annotations map[string]string }
		}
		if err := json.Unmarshal(manifest, &object); err != nil {
			f.Fatal(err)
		}
		for key, value := range object.Metadata.Annotations {
			f.Add(key, value)
		}
	}
	f.Add(cabundle.InjectCAFromSecretAnnotation, "a/b/c")
	f.Add(cabundle.InjectCAFromSecretAnnotation, "/")
	f.Add(cabundle.InjectCAFromAnnotation, "$(CERTIFICATE_NAMESPACE)/$(CERTIFICATE_NAME)") // jobset
	f.Add(cabundle.InjectCAFromAnnotation, "../kube-system/x")
	f.Add(cabundle.InjectAPIServerCAAnnotation, "True")
	for _, test := range cabundletest.Annotations {
		for key, value := range test.Annotations {
			f.Add(key, value)
		}
	}
	f.Add(cabundle.InjectCAFromAnnotation, "ns/"+strings.Repeat("é", 200))
	f.Fuzz(func(t *testing.T, key, value string) {
		ref, ok, problem := cabundle.ReferenceOf(map[string]string{key: value})
		trimmed := strings.TrimSpace(value)
		switch {
		case !ok && cabundle.AsksForInjection(key) && (key != cabundle.InjectAPIServerCAAnnotation || trimmed == "true"):
			t.Errorf("%s: %q is overlooked", key, value)
		case ok && !cabundle.AsksForInjection(key):
			t.Errorf("%s: %q is followed", key, value)
		case problem != nil && (len(problem.Detail) > 500 || problem.Reason != cabundle.InvalidAnnotation):
			t.Errorf("Problem %+v", problem)
		case problem != nil && ref != (cabundle.Reference{}):
			t.Errorf("%q is refused, and read as %v", value, ref)
		case ok && problem == nil && key == cabundle.InjectAnnotation && ref.String() != trimmed:
			t.Errorf("%q is read as %v", value, ref)
		case ok && problem == nil && key != cabundle.InjectAnnotation && ref.Kind != cabundle.APIServer && ref.Namespace+"/"+ref.Name != trimmed:
			t.Errorf("%q is read as %v", value, ref)
		case ok && (cabundle.PaddedAnnotation(map[string]string{key: value}) == key) != (value != trimmed):
			t.Errorf("%q: the white space around it is overlooked, or there is none", value)
		}
		if ok && problem == nil {
			checkPublished(t, ref)
		}
	})
}

// dnsName is what Kubernetes takes as the name of an object, but for its length.
var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// checkPublished fails the test unless ref goes into what is published, and comes back from it.
func checkPublished(t *testing.T, ref cabundle.Reference) {
	t.Helper()
	if back, ok := cabundle.ParseReference(ref.String()); !ok || back != ref {
		t.Errorf("%v comes back as %v, %v", ref, back, ok)
	}
	if name := ref.PublishedName(); len(name) > 253 || !dnsName.MatchString(name) {
		t.Errorf("%v is published as %q", ref, name)
	}
}

// FuzzPublishedSource: whatever is taken for a source is written just as it was read.
func FuzzPublishedSource(f *testing.F) {
	for _, seed := range []string{"apiserver", "secret/ns/name", "certificate/ns/name.with.dots", "secret/ns/a/b", "secret//", "apiserver/", "configmap/a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, ok := cabundle.ParseReference(text)
		if !ok {
			return
		}
		if ref.String() != text {
			t.Errorf("%q is read as %v", text, ref)
		}
		checkPublished(t, ref)
	})
}
