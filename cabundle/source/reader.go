// Package source reads the one object that a target's annotation names: a Secret, a Certificate and then its Secret,
// or the API server's own CA. It never lists, watches or keeps Secrets; each Read is one GET (two for a Certificate).
package source

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
)

// CertificateKind is cert-manager's Certificate.
var CertificateKind = schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"}

// caKey is the key of a Secret that holds its CA, in PEM.
const caKey = "ca.crt"

// Freshness says how new an answer has to be.
type Freshness int

const (
	// Consistent is the state at the time of the call. Whoever writes what was read needs it.
	Consistent Freshness = iota
	// Cached is what the API server has at hand in its watch cache, some time old. It costs etcd nothing, and may
	// only be used to conclude that there is nothing to do.
	Cached
)

// Options is the form of f that the API server understands.
func (f Freshness) Options() *metav1.GetOptions {
	if f == Cached {
		return &metav1.GetOptions{ResourceVersion: "0"}
	}
	return &metav1.GetOptions{}
}

// Reader reads sources.
type Reader struct {
	client      client.Reader
	scope       cabundle.Scope
	apiServerCA func() ([]byte, error)
}

// NewReader returns a Reader that GETs through c, which must not be backed by a cache: that would start to list and
// watch Secrets. Sources out of scope are refused without a GET. apiServerCA returns the API server's CA in PEM; it is called at each read, so that it follows
// a change of the file.
func NewReader(c client.Reader, scope cabundle.Scope, apiServerCA func() ([]byte, error)) *Reader {
	return &Reader{client: c, scope: scope, apiServerCA: apiServerCA}
}

// Read returns the certificates that ref names. The Problem says why it gives none: of a reason that begins with
// Source. A Problem that is an Outage says nothing about the source. It takes as long as ctx allows.
func (r *Reader) Read(ctx context.Context, ref cabundle.Reference, freshness Freshness) (cabundle.Bundle, *cabundle.Problem) {
	if problem := r.scope.Check(ref); problem != nil {
		return cabundle.Bundle{}, problem
	}
	switch ref.Kind {
	case cabundle.Secret:
		return r.readSecret(ctx, ref.Namespace, ref.Name, cabundle.AllowDirectInjectionAnnotation, "true", freshness)
	case cabundle.Certificate:
		secretName, problem := r.readCertificate(ctx, ref, freshness)
		if problem != nil {
			return cabundle.Bundle{}, problem
		}
		return r.readSecret(ctx, ref.Namespace, secretName, cabundle.CertificateNameAnnotation, ref.Name, freshness)
	default:
		return r.readAPIServerCA()
	}
}

// readSecret reads a Secret whose annotation optIn must have the given value.
func (r *Reader) readSecret(ctx context.Context, namespace, name, optIn, value string, freshness Freshness) (cabundle.Bundle, *cabundle.Problem) {
	object := fmt.Sprintf("Secret %s/%s", namespace, name)
	var secret corev1.Secret
	err := r.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &secret, &client.GetOptions{Raw: freshness.Options()})
	if err != nil {
		return cabundle.Bundle{}, readProblem(ctx, object, err)
	}
	if secret.Annotations[optIn] != value {
		return cabundle.Bundle{}, &cabundle.Problem{
			Reason: cabundle.SourceNotAllowed,
			Detail: object + " does not allow it",
			Remedy: fmt.Sprintf("its owner can, with the annotation %s: %q", optIn, value),
		}
	}
	ca, ok := secret.Data[caKey]
	if !ok {
		return cabundle.Bundle{}, &cabundle.Problem{
			Reason: cabundle.SourceWithoutCA,
			Detail: object + " has no key " + caKey,
			Remedy: "let its issuer fill it in",
		}
	}
	bundle, problem := cabundle.ParseSource(ca)
	return bundle, in(object, problem)
}

// readCertificate returns the name of the Secret that a Certificate keeps, in its own namespace.
func (r *Reader) readCertificate(ctx context.Context, ref cabundle.Reference, freshness Freshness) (string, *cabundle.Problem) {
	object := fmt.Sprintf("Certificate %s/%s", ref.Namespace, ref.Name)
	certificate := &unstructured.Unstructured{}
	certificate.SetGroupVersionKind(CertificateKind)
	err := r.client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, certificate, &client.GetOptions{Raw: freshness.Options()})
	if err != nil {
		problem := readProblem(ctx, object, err)
		if apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
			problem.Detail = object + " cannot be read: the cluster has no cert-manager.io/v1"
			problem.Remedy = "install cert-manager's CRDs, or name a Secret with " + cabundle.InjectCAFromSecretAnnotation
		}
		return "", problem
	}
	name, _, _ := unstructured.NestedString(certificate.Object, "spec", "secretName")
	if name == "" {
		return "", &cabundle.Problem{Reason: cabundle.SourceWithoutCA, Detail: object + " has no spec.secretName"}
	}
	return name, nil
}

func (r *Reader) readAPIServerCA() (cabundle.Bundle, *cabundle.Problem) {
	const object = "the API server's CA"
	ca, err := r.apiServerCA()
	if err != nil {
		return cabundle.Bundle{}, &cabundle.Problem{
			Reason: cabundle.SourceNotFound,
			Detail: fmt.Sprintf("%s: %v", object, err),
			Remedy: "give caject a kubeconfig or service account that names it",
		}
	}
	bundle, problem := cabundle.ParseSource(ca)
	return bundle, in(object, problem)
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
func readProblem(ctx context.Context, object string, err error) *cabundle.Problem {
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
			Detail: "caject may not read " + object,
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

// Answered reports that err is the API server's word, not that of something on the way to it.
func Answered(err error) bool { return apierrors.ReasonForError(err) != metav1.StatusReasonUnknown }
