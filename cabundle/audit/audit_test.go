package audit

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
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

// codeCase is a scene, and what is to be said of it.
type codeCase struct {
	scene scene
	want  string // severity, code and object, a line for each issue
	text  string // part of the first message, or of its remedy
}

// ofTargets are cases of what is said of objects.
func ofTargets() map[string]codeCase {
	in := webhooks(fromSecret, a)
	return map[string]codeCase{
		"all is right":                       {scene{in, holding(a), nil}, "", ""},
		"a malformed annotation":             {scene{webhooks(map[string]string{cabundle.InjectCAFromSecretAnnotation: "name"}, a), survey.Known{}, nil}, "Error InvalidAnnotation target", "has no slash"},
		"a misspelt one":                     {scene{webhooks(map[string]string{"certmanager.k8s.io/inject-ca-from": "ns/name"}, a), survey.Known{}, nil}, "Error InvalidAnnotation target", "it is cert-manager.io/inject-ca-from"},
		"a variable of kustomize":            {scene{webhooks(map[string]string{cabundle.InjectCAFromAnnotation: "$(NS)/$(N)"}), survey.Known{}, manifest(nil)}, "Error InvalidAnnotation target", "kubectl kustomize"},
		"white space around the value":       {scene{webhooks(map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name\n"}, a), holding(a), nil}, "Info PaddedAnnotation target", "cainjector does not"},
		"a mode without a meaning":           {scene{webhooks(annotated(cabundle.ModeAnnotation, "overwrite"), a), holding(a), nil}, "Warning UnknownMode target", `"overwrite" has no meaning`},
		"a mode with one":                    {scene{webhooks(annotated(cabundle.ModeAnnotation, "merge"), a), holding(a), nil}, "", ""},
		"nothing injected":                   {scene{webhooks(fromSecret, nil), holding(a), created(time.Hour)}, "Error NothingInjected target", "is an injector running?"},
		"nothing injected into a new object": {scene{webhooks(fromSecret, nil), holding(a), created(time.Second)}, "Info NothingInjected target", "may be filled yet"},
		"nothing injected into a manifest":   {scene{webhooks(fromSecret, nil), holding(a), manifest(nil)}, "", ""},
		"another injected":                   {scene{webhooks(fromSecret, b), holding(a), nil}, "Warning PartlyInjected target\nInfo ForeignCA target", "does not hold all"},
		"no place for a caBundle":            {scene{webhooks(fromSecret), problem(cabundle.SourceNotFound), nil}, "", ""},
		"a placeholder":                      {scene{webhooks(fromSecret, []byte("\n")), holding(a), manifest(nil)}, "Warning Placeholder target", "leave caBundle out"},
		"an empty one":                       {scene{webhooks(fromSecret, []byte{}), holding(a), manifest(nil)}, "Warning Placeholder target", "(w0)"},
		"a placeholder in a cluster":         {scene{webhooks(fromSecret, []byte("\n")), holding(a), nil}, "Error NothingInjected target\nWarning Placeholder target", ""},
		"a caBundle that is not base64":      {scene{webhooks(fromSecret, nil), holding(a), manifest(func(m *Manifests) { m.Broken[0] = []string{"w0"} })}, "Error InvalidCABundle target", "is not base64"},
		"a private key in a caBundle":        {scene{webhooks(fromSecret, slices.Concat(a, cabundletest.PrivateKey())), holding(a), nil}, "Error PrivateKeyExposed target", ""},
		"a text that mentions one":           {scene{webhooks(fromSecret, slices.Concat([]byte("no PRIVATE KEY-----\n"), a)), holding(a), nil}, "", ""},
		"certificates of somebody else":      {scene{webhooks(fromSecret, slices.Concat(a, b)), publishing(holding(a), a), nil}, "Warning ForeignCA target", "CN=b"},
		"a former one of the source":         {scene{webhooks(fromSecret, slices.Concat(a, b)), publishing(holding(a), b, a), nil}, "", ""},
		"more, and caject is not there":      {scene{webhooks(fromSecret, slices.Concat(a, b)), holding(a), nil}, "Info ForeignCA target", "a former one of the source, maybe"},
		"an expired one":                     {scene{webhooks(fromSecret, slices.Concat(former, a)), holding(a), nil}, "Info ExpiredCertificate target", "CN=former"},
		"one twice":                          {scene{webhooks(fromSecret, slices.Concat(a, a)), holding(a), manifest(nil)}, "Info CertificateDuplicated target", "CN=a"},
		"a weak one of somebody else":        {scene{webhooks(fromSecret, slices.Concat(a, issued(p224, "", nil))), holding(a), nil}, "Warning WeakKey target\nInfo ForeignCA target", "224 bits"},
		"no Service":                         {scene{in, holding(a), calling(survey.Service{})}, "Error ServiceWithoutEndpoints target", "does not exist"},
		"no endpoint":                        {scene{in, holding(a), calling(survey.Service{Exists: true})}, "Error ServiceWithoutEndpoints target", "no ready endpoint"},
		"an endpoint":                        {scene{in, holding(a), calling(survey.Service{Exists: true, Ready: true})}, "", ""},
	}
}

// ofSources are cases of sources that cannot be used.
func ofSources() map[string]codeCase {
	in := webhooks(fromSecret, a)
	huge := []byte("# " + strings.Repeat("x", cabundle.MaxSourceBytes))
	return map[string]codeCase{
		"a source that is not there": {scene{in, problem(cabundle.SourceNotFound), nil}, "Error SourceNotFound source", "do this"},
		"one that does not allow it": {scene{in, problem(cabundle.SourceNotAllowed), nil}, "Error SourceNotAllowed source", ""},
		"one without ca.crt":         {scene{in, problem(cabundle.SourceWithoutCA), nil}, "Error SourceWithoutCA source", ""},
		"one out of scope":           {scene{in, problem(cabundle.SourceOutOfScope), nil}, "Error SourceOutOfScope source", ""},
		"one that did not answer":    {scene{in, problem(cabundle.SourceUnavailable), nil}, "Warning SourceUnavailable source", ""},
		"a bug in reading it":        {scene{in, problem(cabundle.InternalError), nil}, "Error InternalError source", ""},
		"one that is no PEM":         {scene{in, holding([]byte("x")), nil}, "Error SourceInvalid source", "holds no certificate"},
		"one that is too large":      {scene{in, holding(huge), nil}, "Error SourceTooLarge source", "65536"},
		"one that has expired":       {scene{webhooks(fromSecret, a), holding(former), nil}, "Error SourceExpired source", "renew it"},
		"one that is distrusted":     {scene{in, distrusting(holding(a)), nil}, "Error SourceDistrusted source", "new CA"},
		"one that may not be read":   {scene{in, problem(cabundle.SourceForbidden), nil}, "", ""},
		"and what caject says of it": {scene{webhooks(fromSecret, lifetime(year, day)), publishing(problem(cabundle.SourceForbidden), lifetime(year, day)), nil}, "Error SourceExpiring source\nWarning ForeignCA target\nWarning PartlyInjected target", ""},
		"a target that is too large": {scene{large(), holding(a), nil}, "Error TargetTooLarge target", "etcd's limit"},
	}
}

// ofCertificates are cases of what sources hold.
func ofCertificates() map[string]codeCase {
	in := webhooks(fromSecret, a)
	many := make([][]byte, manyCertificates+1)
	for i := range many {
		many[i] = cabundletest.CA(fmt.Sprint(i), now.Add(-year), now.Add(year))
	}
	return map[string]codeCase{
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
		"a source that no object names":       {scene{in, holding(a), func(in *Input) { in.Published = map[string]*v1alpha1.CABundle{"secret/other/name": nil} }}, "Info SourceUnused secret/other/name", ""},
		"a source that one names":             {scene{in, holding(a), func(in *Input) { in.Published = map[string]*v1alpha1.CABundle{"secret/ns/name": nil} }}, "", ""},
	}
}

// ofOthers are cases of manifests, and of what caject may do.
func ofOthers() map[string]codeCase {
	in := webhooks(fromSecret, a)
	return map[string]codeCase{
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
}

func TestEachCode(t *testing.T) {
	t.Parallel()
	tests := map[string]codeCase{}
	for _, cases := range []map[string]codeCase{ofTargets(), ofSources(), ofCertificates(), ofOthers()} {
		maps.Copy(tests, cases)
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

func TestADSAKeyIsWeak(t *testing.T) {
	t.Parallel()
	if got := weakKey(&x509.Certificate{PublicKeyAlgorithm: x509.DSA}); got != "a DSA key" { // Go makes none
		t.Errorf("%q", got)
	}
}
