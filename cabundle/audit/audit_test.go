package audit

import (
	"bytes"
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
	"strings"
	"testing"
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

func TestEachCode(t *testing.T) {
	t.Parallel()
	in := webhooks(fromSecret, a)
	many := make([][]byte, manyCertificates+1)
	for i := range many {
		many[i] = cabundletest.CA(fmt.Sprint(i), now.Add(-year), now.Add(year))
	}
	huge := []byte("# " + strings.Repeat("x", cabundle.MaxSourceBytes))
	tests := map[string]struct {
		scene scene
		want  string // severity, code and object, a line for each issue
		text  string // part of the first message, or of its remedy
	}{
		"all is right": {scene{in, holding(a), nil}, "", ""},

		"a malformed annotation":              {scene{webhooks(map[string]string{cabundle.InjectCAFromSecretAnnotation: "name"}, a), survey.Known{}, nil}, "Error InvalidAnnotation target", "has no slash"},
		"a misspelt one":                      {scene{webhooks(map[string]string{"certmanager.k8s.io/inject-ca-from": "ns/name"}, a), survey.Known{}, nil}, "Error InvalidAnnotation target", "it is cert-manager.io/inject-ca-from"},
		"a variable of kustomize":             {scene{webhooks(map[string]string{cabundle.InjectCAFromAnnotation: "$(NS)/$(N)"}), survey.Known{}, manifest(nil)}, "Error InvalidAnnotation target", "kubectl kustomize"},
		"white space around the value":        {scene{webhooks(map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name\n"}, a), holding(a), nil}, "Info PaddedAnnotation target", "cainjector does not"},
		"a mode without a meaning":            {scene{webhooks(annotated(cabundle.ModeAnnotation, "overwrite"), a), holding(a), nil}, "Warning UnknownMode target", `"overwrite" has no meaning`},
		"a mode with one":                     {scene{webhooks(annotated(cabundle.ModeAnnotation, "merge"), a), holding(a), nil}, "", ""},
		"nothing injected":                    {scene{webhooks(fromSecret, nil), holding(a), created(time.Hour)}, "Error NothingInjected target", "is an injector running?"},
		"nothing injected into a new object":  {scene{webhooks(fromSecret, nil), holding(a), created(time.Second)}, "Info NothingInjected target", "may be filled yet"},
		"nothing injected into a manifest":    {scene{webhooks(fromSecret, nil), holding(a), manifest(nil)}, "", ""},
		"another injected":                    {scene{webhooks(fromSecret, b), holding(a), nil}, "Warning PartlyInjected target\nInfo ForeignCA target", "does not hold all"},
		"no place for a caBundle":             {scene{webhooks(fromSecret), problem(cabundle.SourceNotFound), nil}, "", ""},
		"a placeholder":                       {scene{webhooks(fromSecret, []byte("\n")), holding(a), manifest(nil)}, "Warning Placeholder target", "leave caBundle out"},
		"an empty one":                        {scene{webhooks(fromSecret, []byte{}), holding(a), manifest(nil)}, "Warning Placeholder target", "(w0)"},
		"a placeholder in a cluster":          {scene{webhooks(fromSecret, []byte("\n")), holding(a), nil}, "Error NothingInjected target\nWarning Placeholder target", ""},
		"a caBundle that is not base64":       {scene{webhooks(fromSecret, nil), holding(a), manifest(func(m *Manifests) { m.Broken[0] = []string{"w0"} })}, "Error InvalidCABundle target", "is not base64"},
		"a private key in a caBundle":         {scene{webhooks(fromSecret, slices.Concat(a, cabundletest.PrivateKey())), holding(a), nil}, "Error PrivateKeyExposed target", ""},
		"a text that mentions one":            {scene{webhooks(fromSecret, slices.Concat([]byte("no PRIVATE KEY-----\n"), a)), holding(a), nil}, "", ""},
		"certificates of somebody else":       {scene{webhooks(fromSecret, slices.Concat(a, b)), publishing(holding(a), a), nil}, "Warning ForeignCA target", "CN=b"},
		"a former one of the source":          {scene{webhooks(fromSecret, slices.Concat(a, b)), publishing(holding(a), b, a), nil}, "", ""},
		"more, and caject is not there":       {scene{webhooks(fromSecret, slices.Concat(a, b)), holding(a), nil}, "Info ForeignCA target", "a former one of the source, maybe"},
		"an expired one":                      {scene{webhooks(fromSecret, slices.Concat(former, a)), holding(a), nil}, "Info ExpiredCertificate target", "CN=former"},
		"one twice":                           {scene{webhooks(fromSecret, slices.Concat(a, a)), holding(a), manifest(nil)}, "Info CertificateDuplicated target", "CN=a"},
		"a weak one of somebody else":         {scene{webhooks(fromSecret, slices.Concat(a, issued(p224, "", nil))), holding(a), nil}, "Warning WeakKey target\nInfo ForeignCA target", "224 bits"},
		"no Service":                          {scene{in, holding(a), calling(survey.Service{})}, "Error ServiceWithoutEndpoints target", "does not exist"},
		"no endpoint":                         {scene{in, holding(a), calling(survey.Service{Exists: true})}, "Error ServiceWithoutEndpoints target", "no ready endpoint"},
		"an endpoint":                         {scene{in, holding(a), calling(survey.Service{Exists: true, Ready: true})}, "", ""},
		"a source that is not there":          {scene{in, problem(cabundle.SourceNotFound), nil}, "Error SourceNotFound source", "do this"},
		"one that does not allow it":          {scene{in, problem(cabundle.SourceNotAllowed), nil}, "Error SourceNotAllowed source", ""},
		"one without ca.crt":                  {scene{in, problem(cabundle.SourceWithoutCA), nil}, "Error SourceWithoutCA source", ""},
		"one out of scope":                    {scene{in, problem(cabundle.SourceOutOfScope), nil}, "Error SourceOutOfScope source", ""},
		"one that did not answer":             {scene{in, problem(cabundle.SourceUnavailable), nil}, "Warning SourceUnavailable source", ""},
		"a bug in reading it":                 {scene{in, problem(cabundle.InternalError), nil}, "Error InternalError source", ""},
		"one that is no PEM":                  {scene{in, holding([]byte("x")), nil}, "Error SourceInvalid source", "holds no certificate"},
		"one that is too large":               {scene{in, holding(huge), nil}, "Error SourceTooLarge source", "65536"},
		"one that has expired":                {scene{webhooks(fromSecret, a), holding(former), nil}, "Error SourceExpired source", "renew it"},
		"one that is distrusted":              {scene{in, distrusting(holding(a)), nil}, "Error SourceDistrusted source", "new CA"},
		"one that may not be read":            {scene{in, problem(cabundle.SourceForbidden), nil}, "", ""},
		"and what caject says of it":          {scene{webhooks(fromSecret, lifetime(year, day)), publishing(problem(cabundle.SourceForbidden), lifetime(year, day)), nil}, "Error SourceExpiring source\nWarning ForeignCA target\nWarning PartlyInjected target", ""},
		"a target that is too large":          {scene{large(), holding(a), nil}, "Error TargetTooLarge target", "etcd's limit"},
		"it expires in three weeks":           {scene{in, holding(lifetime(year, 21*day)), manifest(nil)}, "Warning SourceExpiring source\nInfo ForeignCA target", "2026-06-22"},
		"it expires in three days":            {scene{in, holding(lifetime(year, 3*day)), manifest(nil)}, "Error SourceExpiring source\nInfo ForeignCA target", ""},
		"it expires in 40 days":               {scene{in, holding(lifetime(year, 40*day)), manifest(nil)}, "Info ForeignCA target", ""},
		"40 days are soon":                    {scene{in, holding(lifetime(year, 40*day)), func(in *Input) { manifest(nil)(in); within(60 * day)(in) }}, "Warning SourceExpiring source\nInfo ForeignCA target", ""},
		"another is left":                     {scene{in, holding(lifetime(year, 3*day), a), manifest(nil)}, "Warning SourceExpiring source", "1 that expires later is beside it"},
		"it lives for a week, half is over":   {scene{in, holding(lifetime(4*day, 3*day)), manifest(nil)}, "Info ForeignCA target", ""},
		"it lives for a week, much is over":   {scene{in, holding(lifetime(6*day, day)), manifest(nil)}, "Warning SourceExpiring source\nInfo ForeignCA target", ""},
		"it lives for a week, it is over":     {scene{in, holding(lifetime(7*day, time.Hour)), manifest(nil)}, "Error SourceExpiring source\nInfo ForeignCA target", ""},
		"a whole trust store":                 {scene{webhooks(fromSecret, slices.Concat(many...)), holding(many...), nil}, "Warning SourceLarge source", "21 certificates"},
		"a source with one twice":             {scene{in, holding(a, a), nil}, "Info CertificateDuplicated source", ""},
		"one that the API server cannot read": {scene{in, holding(a, cabundletest.NegativeSerial(b)), nil}, "Warning CertificateLeftOut source", "negative serial number"},
		"a leaf":                              {alone(issued(p256, "ca", leaf)), "Warning CertificateNotCA source", "may not issue others"},
		"a leaf that is its own CA":           {alone(issued(p256, "", leaf)), "Info CertificateNotCA source", "nobody else has issued"},
		"a CA that may not sign":              {alone(issued(p256, "ca", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })), "Warning CertificateNotCA source", ""},
		"RSA with 1024 bits":                  {alone(issued(rsa1024, "", nil)), "Warning WeakKey source", "1024 bits"},
		"RSA with 2048 bits":                  {alone(issued(rsa2048, "", nil)), "", ""},
		"an intermediate with SHA-1":          {alone(issued(rsa2048, "root", sha1)), "Warning WeakSignature source", "SHA1-RSA"},
		"a root with SHA-1":                   {alone(issued(rsa2048, "", sha1)), "", ""},

		"a source that no object names": {scene{in, holding(a), func(in *Input) { in.Published = map[string]*v1alpha1.CABundle{"secret/other/name": nil} }}, "Info SourceUnused secret/other/name", ""},
		"a source that one names":       {scene{in, holding(a), func(in *Input) { in.Published = map[string]*v1alpha1.CABundle{"secret/ns/name": nil} }}, "", ""},

		"a source that is not among manifests":                  {scene{in, problem(cabundle.SourceNotFound), manifest(nil)}, "Info SourceElsewhere source", "made elsewhere"},
		"the API server's CA is not":                            {scene{webhooks(map[string]string{cabundle.InjectAPIServerCAAnnotation: "true"}, a), problem(cabundle.SourceNotFound), manifest(nil)}, "", ""},
		"a Secret without ca.crt in a manifest":                 {scene{in, problem(cabundle.SourceWithoutCA), manifest(nil)}, "Info OptInWithoutCA source", ""},
		"a Certificate without Secret's name in a manifest":     {scene{webhooks(map[string]string{cabundle.InjectCAFromAnnotation: "ns/name"}, a), problem(cabundle.SourceWithoutCA), manifest(nil)}, "Error SourceWithoutCA certificate/ns/name", ""},
		"a Secret that a Certificate makes":                     {scene{in, problem(cabundle.SourceWithoutCA), manifest(made)}, "", ""},
		"a Secret that a Certificate makes, without the opt-in": {scene{in, problem(cabundle.SourceNotAllowed), manifest(made)}, "Error SourceNotAllowed source", "spec.secretTemplate"},
		"caject may list Secrets":                               {scene{in, holding(a), granted(false, secrets(nil, "get", "list"))}, "Error RightsTooWide clusterrole/caject", "list secrets everywhere"},
		"caject may write one, by name, elsewhere":              {scene{in, holding(a), granted(false, secrets([]string{"x"}, "patch"))}, "Error RightsTooWide clusterrole/caject", "patch"},
		"caject may do anything":                                {scene{in, holding(a), granted(false, rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})}, "Error RightsTooWide clusterrole/caject", "anything"},
		"caject may read them":                                  {scene{in, holding(a), granted(false, secrets(nil, "get"))}, "", ""},
		"caject may write its own":                              {scene{in, holding(a), granted(true, secrets([]string{"caject-ca"}, "get", "update", "patch", "create"))}, "", ""},
		"caject may write any in its own namespace":             {scene{in, holding(a), granted(true, secrets(nil, "update"))}, "Error RightsTooWide clusterrole/caject", ""},
		"caject may list other things":                          {scene{in, holding(a), granted(false, rbacv1.PolicyRule{APIGroups: []string{"caject.io"}, Resources: []string{"*"}, Verbs: []string{"*"}})}, "", ""},
		"control characters in a subject":                       {alone(issued(p224, "", func(c *x509.Certificate) { c.Subject.CommonName = "\x1b[2J\n" })), "Warning WeakKey source", `\x1b[2J`},
	}
	fired := map[Code]bool{}
	for name, test := range tests {
		issues := test.scene.issues()
		var got []string
		for _, one := range issues {
			fired[one.Code] = true
			object := strings.NewReplacer("validatingwebhookconfiguration/x", "target", "secret/ns/name", "source").Replace(one.Object)
			got = append(got, fmt.Sprintf("%s %s %s", one.Severity, one.Code, object))
			if bytes.ContainsAny([]byte(one.Message), "\x1b\n") {
				t.Errorf("%s: control characters in %q", name, one.Message)
			}
			if one.Severity > one.Code.Severity() {
				t.Errorf("%s: %s is worse than its code", name, one.Severity)
			}
		}
		if text := strings.Join(got, "\n"); text != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, text, test.want)
		}
		if test.text != "" && !strings.Contains(issues[0].Message+"; "+issues[0].Remedy, test.text) {
			t.Errorf("%s: %q, %q: without %q", name, issues[0].Message, issues[0].Remedy, test.text)
		}
	}
	fired[Code(cabundle.SourceForbidden)] = true // a gap: see TestGaps
	for _, code := range Codes() {
		if !fired[code] {
			t.Errorf("%s: in no case", code)
		}
	}
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
