package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

// CertificateKind is cert-manager's Certificate.
var CertificateKind = schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"}

// caKey is the key of a Secret that holds its CA, in PEM.
const caKey = "ca.crt"

// Sources reads sources.
type Sources struct {
	client      client.Reader
	scope       cabundle.Scope
	apiServerCA func() ([]byte, error)
	who         string // reads, as messages name them
}

// NewSources returns Sources that GETs through c, which must not be backed by a cache: that would start to list and watch
// Secrets. A source out of scope is refused without a GET. apiServerCA returns the API server's CA in PEM; it is called at each
// read, so that it follows a change of the file.
func NewSources(c client.Reader, scope cabundle.Scope, apiServerCA func() ([]byte, error)) *Sources {
	return &Sources{client: c, scope: scope, apiServerCA: apiServerCA, who: "caject"}
}

// As returns s with another name of who reads, for messages such as "caject may not read Secret a/b".
func (s *Sources) As(who string) *Sources {
	as := *s
	as.who = who
	return &as
}

// Read reads the certificates that ref names. The Problem in the result has a reason that begins with Source; one that is an
// Outage says nothing about the source. A panic becomes a Problem of reason InternalError, and is logged: whoever waits for the
// answer must not suffer from a bug of ours.
func (s *Sources) Read(ctx context.Context, ref cabundle.Reference, freshness Freshness) (reading cabundle.Reading) {
	defer func() {
		if p := recover(); p != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "Recovered in reading a source", "source", ref, "stack", string(debug.Stack()))
			reading = cabundle.Reading{Problem: cabundle.Panicked(ref)}
		}
	}()
	if problem := s.scope.Check(ref); problem != nil {
		return cabundle.Reading{Problem: problem}
	}
	switch ref.Kind {
	case cabundle.Secret:
		return s.readSecret(ctx, ref.Namespace, ref.Name, directly, freshness)
	case cabundle.Certificate:
		return s.readCertificate(ctx, ref, freshness)
	default:
		return s.readAPIServerCA()
	}
}

// optIn is how the owner of a Secret allows it to be used.
type optIn struct {
	given             func(annotations map[string]string) bool
	annotation, value string // that would give it
}

// remedy says how the owner of a Secret that has not given it can, and what they have done in its place.
func (o optIn) remedy(secret *corev1.Secret) string {
	remedy := fmt.Sprintf("its owner can, with the annotation %s: %q", o.annotation, o.value)
	if mistake := cabundle.OptInMistake(o.annotation, o.value, secret.Annotations, secret.Labels); mistake != "" {
		remedy += "; " + mistake
	}
	return remedy
}

// directly is the opt-in of a Secret that a target names itself.
var directly = optIn{cabundle.AllowsDirectInjection, cabundle.AllowDirectInjectionAnnotation, "true"}

// through is the opt-in of a Secret that belongs to a Certificate.
func through(certificate string) optIn {
	named := func(annotations map[string]string) bool { return cabundle.CertificateName(annotations) == certificate }
	return optIn{named, cabundle.CertificateNameAnnotation, certificate}
}

// readSecret reads a Secret that allows it.
func (s *Sources) readSecret(ctx context.Context, namespace, name string, allows optIn, freshness Freshness) cabundle.Reading {
	object := fmt.Sprintf("Secret %s/%s", namespace, name)
	var secret corev1.Secret
	err := s.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &secret, &client.GetOptions{Raw: freshness.Options()})
	if err != nil {
		return cabundle.Reading{Problem: s.readProblem(ctx, object, err)}
	}
	reading := cabundle.Reading{
		Version:      Version(&secret),
		Distrusted:   cabundle.ParseFingerprints(secret.Annotations[cabundle.DistrustAnnotation]),
		TrustedAgain: cabundle.ParseFingerprints(secret.Annotations[cabundle.TrustAgainAnnotation]),
	}
	ca, holdsCA := secret.Data[caKey]
	switch {
	case !allows.given(secret.Annotations):
		reading.Problem = &cabundle.Problem{
			Reason: cabundle.SourceNotAllowed,
			Detail: object + " does not allow it",
			Remedy: allows.remedy(&secret),
		}
	case !holdsCA:
		reading.Problem = &cabundle.Problem{
			Reason: cabundle.SourceWithoutCA,
			Detail: object + " has no key " + caKey,
			Remedy: "let its issuer fill it in",
		}
	default:
		bundle, leftOut, problem := cabundle.ParseSource(ca)
		reading.Bundle, reading.LeftOut, reading.Problem = bundle, leftOut, in(object, problem)
	}
	return reading
}

// readCertificate reads a Certificate, and then the Secret that it keeps in its own namespace.
func (s *Sources) readCertificate(ctx context.Context, ref cabundle.Reference, freshness Freshness) cabundle.Reading {
	object := fmt.Sprintf("Certificate %s/%s", ref.Namespace, ref.Name)
	certificate := &unstructured.Unstructured{}
	certificate.SetGroupVersionKind(CertificateKind)
	err := s.client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, certificate, &client.GetOptions{Raw: freshness.Options()})
	if err != nil {
		problem := s.readProblem(ctx, object, err)
		if apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
			problem.Detail = object + " cannot be read: the cluster has no cert-manager.io/v1"
			problem.Remedy = "install cert-manager's CRDs, or name a Secret with " + cabundle.InjectCAFromSecretAnnotation
		}
		return cabundle.Reading{Problem: problem}
	}
	secretName, _, _ := unstructured.NestedString(certificate.Object, "spec", "secretName")
	if problem := secretNameProblem(object, secretName); problem != nil {
		return cabundle.Reading{Problem: problem, Version: Version(certificate)}
	}
	reading := s.readSecret(ctx, ref.Namespace, secretName, through(ref.Name), freshness)
	reading.Version = max(reading.Version, Version(certificate))
	return reading
}

// secretNameProblem says what is wrong with the spec.secretName of a Certificate, or returns nil. A name that no Secret can have
// would be refused by our own client or by the API server's router, which looks like an outage.
func secretNameProblem(object, secretName string) *cabundle.Problem {
	switch {
	case secretName == "":
		return &cabundle.Problem{Reason: cabundle.SourceWithoutCA, Detail: object + " has no spec.secretName"}
	case len(validation.IsDNS1123Subdomain(secretName)) > 0:
		return &cabundle.Problem{
			Reason: cabundle.SourceInvalid,
			Detail: fmt.Sprintf("%s: spec.secretName %.80q cannot be the name of a Secret", object, secretName),
			Remedy: "correct spec.secretName",
		}
	}
	return nil
}

func (s *Sources) readAPIServerCA() cabundle.Reading {
	const object = "the API server's CA"
	ca, err := s.apiServerCA()
	if err != nil {
		return cabundle.Reading{Problem: &cabundle.Problem{
			Reason: cabundle.SourceNotFound,
			Detail: fmt.Sprintf("%s: %v", object, err),
			Remedy: "give caject a kubeconfig or service account that names it",
		}}
	}
	bundle, leftOut, problem := cabundle.ParseSource(ca)
	return cabundle.Reading{Bundle: bundle, LeftOut: leftOut, Problem: in(object, problem)}
}

// Version returns the resourceVersion of an object as a number, or 0 if it is none. Of two states of objects of one kind the later one
// has the larger Version.
func Version(object metav1.Object) int64 {
	version, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return version
}

// in prefixes the problem with the object that it was found in.
func in(object string, problem *cabundle.Problem) *cabundle.Problem {
	if problem != nil {
		problem.Detail = object + ": " + problem.Detail
	}
	return problem
}

// readProblem turns the error of a GET into a Problem. Whatever is not a clear word of the API server about the object
// is an Outage.
func (s *Sources) readProblem(ctx context.Context, object string, err error) *cabundle.Problem {
	switch {
	case apierrors.IsNotFound(err):
		return &cabundle.Problem{
			Reason: cabundle.SourceNotFound,
			Detail: object + " does not exist",
			Remedy: "create it, or correct the annotation",
		}
	case apierrors.IsForbidden(err):
		return &cabundle.Problem{
			Reason: cabundle.SourceForbidden,
			Detail: s.who + " may not read " + object,
			Remedy: "let its role get it",
		}
	case errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		return &cabundle.Problem{
			Reason: cabundle.SourceUnavailable,
			Detail: object + " could not be read in time",
		}
	default:
		return &cabundle.Problem{
			Reason:   cabundle.SourceUnavailable,
			Detail:   fmt.Sprintf("%s could not be read: %v", object, err),
			Answered: Answered(err),
		}
	}
}

// Answered reports whether err is the API server's word, not that of something on the way to it.
func Answered(err error) bool { return apierrors.ReasonForError(err) != metav1.StatusReasonUnknown }
