package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/cabundle/v1alpha1"
)

var (
	now    = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	day    = 24 * time.Hour
	year   = 365 * day
	a      = cabundletest.CA("a", now.Add(-year), now.Add(year))
	b      = cabundletest.CA("b", now.Add(-year), now.Add(2*year))
	former = cabundletest.CA("former", now.Add(-2*year), now.Add(-year))

	rsa1024 = must(rsa.GenerateKey(rand.Reader, 1024))
	rsa2048 = must(rsa.GenerateKey(rand.Reader, 2048))
	p224    = must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	p256    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// issued returns a certificate in PEM, for a year from now on: of key, with edit's changes, and issued by another CA if issuer says so.
func issued(key crypto.Signer, issuer string, edit func(*x509.Certificate)) []byte {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "made"}, NotBefore: now.Add(-year), NotAfter: now.Add(year), IsCA: true, BasicConstraintsValid: true,
	}
	if edit != nil {
		edit(template)
	}
	parent := template
	if issuer != "" {
		parent = &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key))})
}

func leaf(c *x509.Certificate) { c.IsCA = false }
func sha1(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
func lifetime(before, after time.Duration) []byte {
	return cabundletest.CA("soon", now.Add(-before), now.Add(after))
}

var fromSecret = map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name"}

// annotated returns the annotation that names the source, and another one.
func annotated(key, value string) map[string]string {
	return map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name", key: value}
}

// webhooks returns a configuration whose webhooks hold the given caBundles, and call Service ns/svc.
func webhooks(annotations map[string]string, held ...[]byte) cabundle.Object {
	var list []any
	for i, caBundle := range held {
		config := map[string]any{"service": map[string]any{"namespace": "ns", "name": "svc"}}
		if caBundle != nil {
			config["caBundle"] = base64.StdEncoding.EncodeToString(caBundle)
		}
		list = append(list, map[string]any{"name": fmt.Sprintf("w%d", i), "clientConfig": config})
	}
	raw := must(json.Marshal(map[string]any{"metadata": map[string]any{"name": "x", "annotations": annotations}, "webhooks": list}))
	return cabundle.ParseObject(cabundle.ValidatingWebhookConfiguration, raw)
}

// holding is what is known of a source that holds ca.
func holding(ca ...[]byte) survey.Known {
	bundle, leftOut, problem := cabundle.ParseSource(slices.Concat(ca...))
	return survey.Known{Reading: cabundle.Reading{Bundle: bundle, LeftOut: leftOut, Problem: problem}}
}

func problem(reason cabundle.Reason) survey.Known {
	return survey.Known{Reading: cabundle.Reading{Problem: &cabundle.Problem{Reason: reason, Detail: "it is so", Remedy: "do this"}}}
}

// publishing returns known, and that caject publishes ca of the source.
func publishing(known survey.Known, ca ...[]byte) survey.Known {
	known.Published = &v1alpha1.CABundle{Status: v1alpha1.CABundleStatus{CABundle: base64.StdEncoding.EncodeToString(slices.Concat(ca...))}}
	return known
}

// scene is one object with its source, and what is around it.
type scene struct {
	object cabundle.Object
	known  survey.Known
	around func(*Input)
}

func (s scene) issues() []Issue {
	in := Input{Now: now, Targets: []survey.Finding{survey.Judge(now, s.object, s.known)}, ExpiresWithin: DefaultExpiresWithin}
	if s.around != nil {
		s.around(&in)
	}
	return Run(in)
}

func created(ago time.Duration) func(*Input) {
	return func(in *Input) { at := now.Add(-ago); in.Targets[0].Created = &at }
}

func manifest(edit func(*Manifests)) func(*Input) {
	return func(in *Input) {
		in.Manifests = &Manifests{Places: []string{"a.yaml:1"}, Broken: [][]string{nil}}
		if edit != nil {
			edit(in.Manifests)
		}
	}
}

func calling(service survey.Service) func(*Input) {
	return func(in *Input) { in.Services = map[string]survey.Service{"ns/svc": service} }
}

func within(length time.Duration) func(*Input) { return func(in *Input) { in.ExpiresWithin = length } }

func granted(own bool, rule rbacv1.PolicyRule) func(*Input) {
	return func(in *Input) {
		in.Grants = []survey.Grant{{Role: "clusterrole/caject", Own: own, Rules: []rbacv1.PolicyRule{rule}}}
	}
}

func secrets(names []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: names, Verbs: verbs}
}

// alone is a source with ca, and a target that holds it.
func alone(ca []byte) scene { return scene{webhooks(fromSecret, ca), holding(ca), nil} }

func made(m *Manifests) {
	m.Made = map[cabundle.Reference]bool{{Kind: cabundle.Secret, Namespace: "ns", Name: "name"}: true}
}

func distrusting(known survey.Known) survey.Known {
	known.Reading.Distrusted = []string{cabundle.Fingerprint(known.Reading.Bundle.Certificates()[0])}
	return known
}

// large is an object that a caBundle does not fit into.
func large() cabundle.Object {
	object := webhooks(fromSecret, nil)
	object.Size = 1_500_000
	return object
}
