package manifests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// sources are the objects that a target's source is read from, by namespace and name. As a client.Reader they are read as those of a
// cluster are.
type sources struct {
	secrets      map[client.ObjectKey]*corev1.Secret
	certificates map[client.ObjectKey]*unstructured.Unstructured
	published    map[string]*v1alpha1.CABundle
}

var _ client.Reader = (*sources)(nil)

// sourcesOf reads them out of objects. What is to be in a namespace and names none is in the given one.
func sourcesOf(objects []Object, namespace string) (*sources, error) {
	s := &sources{
		secrets: map[client.ObjectKey]*corev1.Secret{}, certificates: map[client.ObjectKey]*unstructured.Unstructured{},
		published: map[string]*v1alpha1.CABundle{},
	}
	for _, object := range objects {
		key := client.ObjectKey{Namespace: object.Namespace, Name: object.Name}
		if key.Namespace == "" {
			key.Namespace = namespace
		}
		var err error
		switch (schema.GroupKind{Group: object.Group, Kind: object.Kind}) {
		case schema.GroupKind{Kind: "Secret"}:
			s.secrets[key], err = secretOf(object.Raw)
		case cluster.CertificateKind.GroupKind():
			s.certificates[key] = &unstructured.Unstructured{}
			err = s.certificates[key].UnmarshalJSON(object.Raw)
		case v1alpha1.GroupVersion.WithKind("CABundle").GroupKind():
			published := &v1alpha1.CABundle{}
			err = json.Unmarshal(object.Raw, published)
			s.published[published.Spec.Source] = published
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s %s: %w", object.Where, object.Kind, key, err)
		}
	}
	return s, nil
}

// secretOf reads a Secret; what stands in stringData is in its data, as the API server has it.
func secretOf(raw []byte) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	if err := json.Unmarshal(raw, secret); err != nil {
		return nil, err
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	for key, value := range secret.StringData {
		secret.Data[key] = []byte(value)
	}
	return secret, nil
}

// Get implements [client.Reader]. A Secret that is not there, and that a Certificate makes, is as cert-manager makes it at first:
// with annotations, and without data.
func (s *sources) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	switch object := object.(type) {
	case *corev1.Secret:
		if secret := s.secrets[key]; secret != nil {
			secret.DeepCopyInto(object)
			return nil
		}
		if name, certificate := s.makerOf(key); certificate != nil {
			annotations, _, _ := unstructured.NestedStringMap(certificate.Object, "spec", "secretTemplate", "annotations")
			object.Annotations = map[string]string{cabundle.CertificateNameAnnotation: name}
			for annotation, value := range annotations {
				object.Annotations[annotation] = value
			}
			return nil
		}
	case *unstructured.Unstructured:
		if certificate := s.certificates[key]; certificate != nil {
			certificate.DeepCopyInto(object)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.String())
}

// List implements [client.Reader]: sources are never listed.
func (s *sources) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("sources are not listed")
}

// makerOf returns the Certificate whose Secret the one of key is.
func (s *sources) makerOf(key client.ObjectKey) (name string, certificate *unstructured.Unstructured) {
	for of, certificate := range s.certificates {
		if of.Namespace == key.Namespace && secretName(certificate) == key.Name && (name == "" || of.Name < name) {
			name = of.Name
		}
	}
	return name, s.certificates[client.ObjectKey{Namespace: key.Namespace, Name: name}]
}

func secretName(certificate *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(certificate.Object, "spec", "secretName")
	return name
}

// makes reports whether the Secret of ref is not there, and a Certificate that is makes it.
func (s *sources) makes(ref cabundle.Reference) bool {
	key := client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}
	if ref.Kind == cabundle.Certificate {
		certificate := s.certificates[key]
		if certificate == nil {
			return false
		}
		key.Name = secretName(certificate)
	}
	_, maker := s.makerOf(key)
	return key.Name != "" && s.secrets[key] == nil && maker != nil
}
