package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

var (
	ca          = cabundletest.CA("one", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	secretRef   = cabundle.Reference{Kind: cabundle.Secret, Namespace: "ns", Name: "name"}
	certRef     = cabundle.Reference{Kind: cabundle.Certificate, Namespace: "ns", Name: "cert"}
	fingerprint = strings.Repeat("ab", 32)
)

// fakeReader answers a GET with the Secret or the secretName that it holds, or with an error.
type fakeReader struct {
	client.Reader
	secret      *corev1.Secret
	certificate map[string]any // spec
	err, crtErr error
	panics      bool

	asked   []string // kind namespace/name of each GET
	version string   // resourceVersion asked for last
}

func (f *fakeReader) Get(_ context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if f.panics {
		panic("a bug")
	}
	o := &client.GetOptions{}
	o.ApplyOptions(options)
	f.version = o.AsGetOptions().ResourceVersion
	switch object := object.(type) {
	case *corev1.Secret:
		f.asked = append(f.asked, "Secret "+key.String())
		if f.err == nil {
			f.secret.DeepCopyInto(object)
		}
		return f.err
	case *unstructured.Unstructured:
		f.asked = append(f.asked, "Certificate "+key.String())
		object.Object["spec"] = f.certificate
		object.SetResourceVersion("7")
		return f.crtErr
	}
	return errors.New("only Secrets and Certificates may be read")
}

func newSecret(version string, annotations map[string]string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "name", ResourceVersion: version, Annotations: annotations},
		Data:       data,
	}
}

func TestRead(t *testing.T) {
	holdsCA := map[string][]byte{"ca.crt": ca, "tls.key": []byte("secret")}
	allowed := map[string]string{cabundle.AllowDirectInjectionAnnotation: "true"}
	issued := map[string]string{cabundle.CertificateNameAnnotation: "cert"}
	withDistrust := map[string]string{
		cabundle.AllowDirectInjectionAnnotation: "true",
		cabundle.DistrustAnnotation:             strings.ToUpper(fingerprint),
		cabundle.TrustAgainAnnotation:           "x " + fingerprint,
	}
	onlyDistrust := map[string]string{cabundle.DistrustAnnotation: fingerprint}
	secrets, certificates := schema.GroupResource{Resource: "secrets"}, schema.GroupResource{Resource: "certificates"}
	noCertificates := apierrors.NewGenericServerResponse(404, "get", certificates, "cert", "404 page not found", 0, true)
	names := func(name string) map[string]any { return map[string]any{"secretName": name} }
	good := cabundle.Reading{Bundle: cabundle.ParseExisting(ca), Version: 12}
	problem := func(reason cabundle.Reason, version int64) cabundle.Reading {
		return cabundle.Reading{Problem: &cabundle.Problem{Reason: reason}, Version: version}
	}

	tests := map[string]struct {
		reader fakeReader
		ref    cabundle.Reference
		want   cabundle.Reading
		words  string // in the Problem
	}{
		"a Secret that allows it":     {fakeReader{secret: newSecret("12", allowed, holdsCA)}, secretRef, good, ""},
		"a version that is no number": {fakeReader{secret: newSecret("x", allowed, holdsCA)}, secretRef, cabundle.Reading{Bundle: good.Bundle}, ""},
		"a Secret that names distrusted CAs": {
			fakeReader{secret: newSecret("12", withDistrust, holdsCA)}, secretRef,
			cabundle.Reading{Bundle: good.Bundle, Version: 12, Distrusted: []string{fingerprint}, TrustedAgain: []string{fingerprint}}, "",
		},
		"distrust counts although nothing else can be used": {
			fakeReader{secret: newSecret("12", onlyDistrust, nil)}, secretRef,
			cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.SourceNotAllowed}, Version: 12, Distrusted: []string{fingerprint}}, "",
		},
		"a Secret that does not allow it": {fakeReader{secret: newSecret("12", nil, holdsCA)}, secretRef, problem(cabundle.SourceNotAllowed, 12), cabundle.AllowDirectInjectionAnnotation},
		"a Secret whose opt-in is a label": {
			fakeReader{secret: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "name", ResourceVersion: "12", Labels: allowed}, Data: holdsCA}}, secretRef,
			problem(cabundle.SourceNotAllowed, 12), "which does not count",
		},
		"the opt-in of a Certificate is not a Secret's": {fakeReader{secret: newSecret("12", issued, holdsCA)}, secretRef, problem(cabundle.SourceNotAllowed, 12), ""},
		"a Secret without ca.crt":                       {fakeReader{secret: newSecret("12", allowed, nil)}, secretRef, problem(cabundle.SourceWithoutCA, 12), "has no key ca.crt"},
		"a Secret with a key in ca.crt": {
			fakeReader{secret: newSecret("12", allowed, map[string][]byte{"ca.crt": cabundletest.PrivateKey()})}, secretRef,
			problem(cabundle.SourceInvalid, 12), "Secret ns/name: ca.crt",
		},
		"no such Secret":      {fakeReader{err: apierrors.NewNotFound(secrets, "name")}, secretRef, problem(cabundle.SourceNotFound, 0), "Secret ns/name does not exist"},
		"a Secret not for us": {fakeReader{err: apierrors.NewForbidden(secrets, "name", nil)}, secretRef, problem(cabundle.SourceForbidden, 0), ""},
		"no answer":           {fakeReader{err: errors.New("connection refused")}, secretRef, problem(cabundle.SourceUnavailable, 0), "connection refused"},
		"not in time":         {fakeReader{err: context.DeadlineExceeded}, secretRef, problem(cabundle.SourceUnavailable, 0), "in time"},
		"a panic":             {fakeReader{panics: true}, secretRef, problem(cabundle.InternalError, 0), "caject failed on secret/ns/name"},

		"a Certificate and its Secret": {
			fakeReader{certificate: names("name"), secret: newSecret("12", issued, holdsCA)}, certRef, good, "",
		},
		"a Certificate that is newer than its Secret": {
			fakeReader{certificate: names("name"), secret: newSecret("3", issued, holdsCA)}, certRef, cabundle.Reading{Bundle: good.Bundle, Version: 7}, "",
		},
		"the Secret of another Certificate": {
			fakeReader{certificate: names("name"), secret: newSecret("12", allowed, holdsCA)}, certRef, problem(cabundle.SourceNotAllowed, 12), cabundle.CertificateNameAnnotation,
		},
		"a Certificate whose Secret is not there": {
			fakeReader{certificate: names("name"), err: apierrors.NewNotFound(secrets, "name")}, certRef, problem(cabundle.SourceNotFound, 7), "Secret ns/name",
		},
		"a Certificate that names no Secret":               {fakeReader{certificate: names("")}, certRef, problem(cabundle.SourceWithoutCA, 7), "no spec.secretName"},
		"a Certificate that names what cannot be a Secret": {fakeReader{certificate: names("../../ns2/secrets/x")}, certRef, problem(cabundle.SourceInvalid, 7), "correct spec.secretName"},
		"and one that our client would send":               {fakeReader{certificate: names("Secret_1")}, certRef, problem(cabundle.SourceInvalid, 7), `"Secret_1" cannot be the name`},
		"no such Certificate":                              {fakeReader{crtErr: apierrors.NewNotFound(certificates, "cert")}, certRef, problem(cabundle.SourceNotFound, 0), "Certificate ns/cert does not exist"},
		"a cluster without cert-manager":                   {fakeReader{crtErr: noCertificates}, certRef, problem(cabundle.SourceNotFound, 0), "install cert-manager's CRDs"},

		"the API server's CA": {fakeReader{}, cabundle.Reference{Kind: cabundle.APIServer}, cabundle.Reading{Bundle: good.Bundle}, ""},
		"out of scope":        {fakeReader{}, cabundle.Reference{Kind: cabundle.Secret, Namespace: "ignored", Name: "name"}, problem(cabundle.SourceOutOfScope, 0), ""},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			scope := cabundle.Scope{IgnoredNamespaces: []string{"ignored"}}
			sources := NewSources(&test.reader, scope, func() ([]byte, error) { return ca, nil })
			got := sources.Read(t.Context(), test.ref, Consistent)
			if problem := got.Problem; problem != nil {
				if !strings.Contains(problem.Message(), test.words) {
					t.Errorf("the problem is %q, without %q", problem.Message(), test.words)
				}
				got.Problem = &cabundle.Problem{Reason: problem.Reason}
			}
			if diff := cmp.Diff(test.want, got, cmp.Comparer(equal)); diff != "" {
				t.Error(diff)
			}
			if test.want.Outcome() != got.Outcome() {
				t.Errorf("the outcome is %q, not %q", got.Outcome(), test.want.Outcome())
			}
		})
	}
}

func equal(a, b cabundle.Bundle) bool { return a.Digest() == b.Digest() }

func TestWhatIsReadIsOneObjectOrTwo(t *testing.T) {
	allowed := map[string]string{cabundle.AllowDirectInjectionAnnotation: "true", cabundle.CertificateNameAnnotation: "cert"}
	for sentence, test := range map[string]struct {
		ref       cabundle.Reference
		freshness Freshness
		version   string
		asked     []string
	}{
		"a Secret, as it is now":       {secretRef, Consistent, "", []string{"Secret ns/name"}},
		"a Secret, as it is at hand":   {secretRef, Cached, "0", []string{"Secret ns/name"}},
		"a Certificate and its Secret": {certRef, Cached, "0", []string{"Certificate ns/cert", "Secret ns/name"}},
		"out of scope, nothing":        {cabundle.Reference{Kind: cabundle.Secret, Namespace: "other", Name: "x"}, Consistent, "", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			reader := &fakeReader{certificate: map[string]any{"secretName": "name"}, secret: newSecret("1", allowed, map[string][]byte{"ca.crt": ca})}
			NewSources(reader, cabundle.Scope{Namespaces: []string{"ns"}}, nil).Read(t.Context(), test.ref, test.freshness)
			if diff := cmp.Diff(test.asked, reader.asked); diff != "" || reader.version != test.version {
				t.Errorf("at version %q\n%s", reader.version, diff)
			}
		})
	}
}

func TestAPanicIsLoggedWithItsStack(t *testing.T) {
	var lines []string
	logger := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	NewSources(&fakeReader{panics: true}, cabundle.Scope{}, nil).Read(log.IntoContext(t.Context(), logger), secretRef, Consistent)
	if len(lines) != 1 || !strings.Contains(lines[0], "panic: a bug") || !strings.Contains(lines[0], "source_test.go") {
		t.Errorf("logged %q", lines)
	}
}

func TestTheAPIServersCACannotBeRead(t *testing.T) {
	sources := NewSources(&fakeReader{}, cabundle.Scope{}, func() ([]byte, error) { return nil, errors.New("no such file") })
	got := sources.Read(t.Context(), cabundle.Reference{Kind: cabundle.APIServer}, Consistent)
	if got.Problem == nil || got.Problem.Reason != cabundle.SourceNotFound || !strings.Contains(got.Problem.Detail, "no such file") {
		t.Errorf("the problem is %v", got.Problem)
	}
}
