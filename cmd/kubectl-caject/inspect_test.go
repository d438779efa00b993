package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// inspectedAt is when the golden files are looked at. The certificates in testdata are valid around it.
var inspectedAt = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

func inspectFile(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "inspect", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// configuration returns a ValidatingWebhookConfiguration whose webhooks hold caBundles.
func configuration(t *testing.T, annotations map[string]string, managedFields string, caBundles ...[]byte) cabundle.Object {
	t.Helper()
	type object = map[string]any
	var webhooks []object
	for i, caBundle := range caBundles {
		clientConfig := object{"url": "https://example.com"}
		if len(caBundle) > 0 {
			clientConfig["caBundle"] = base64.StdEncoding.EncodeToString(caBundle)
		}
		webhooks = append(webhooks, object{"name": string(rune('a'+i%26)) + strings.Repeat("x", i/26) + ".example.com", "clientConfig": clientConfig})
	}
	raw, err := json.Marshal(object{
		"metadata": object{"name": "example", "annotations": annotations, "managedFields": json.RawMessage(managedFields)},
		"webhooks": webhooks,
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed := cabundle.ParseObject(cabundle.ValidatingWebhookConfiguration, raw)
	parsed.Managers = cabundle.ParseManagers(cabundle.ValidatingWebhookConfiguration, raw)
	return parsed
}

var fromSecret = map[string]string{cabundle.InjectCAFromSecretAnnotation: "default/webhook-tls"}

// published returns the CABundle of that Secret: it has had former before ca.
func published(t *testing.T) *v1alpha1.CABundle {
	t.Helper()
	ca, former := inspectFile(t, "ca.pem"), inspectFile(t, "former.pem")
	one := func(text []byte, lastSeen *metav1.Time) v1alpha1.Certificate {
		certificate := parsed(t, text)
		return v1alpha1.Certificate{
			Subject: certificate.Subject.String(), Fingerprint: cabundle.Fingerprint(certificate),
			NotAfter: metav1.NewTime(certificate.NotAfter), LastSeen: lastSeen,
		}
	}
	left := metav1.NewTime(time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC))
	return &v1alpha1.CABundle{
		ObjectMeta: metav1.ObjectMeta{Name: "secret.default.webhook-tls"},
		Spec:       v1alpha1.CABundleSpec{Source: "secret/default/webhook-tls"},
		Status: v1alpha1.CABundleStatus{
			Conditions: []metav1.Condition{{
				Type: v1alpha1.Ready, Status: metav1.ConditionTrue, Reason: "Published", Message: "the bundle is published", LastTransitionTime: left,
			}},
			CABundle:     base64.StdEncoding.EncodeToString(bytes.Join([][]byte{former, ca}, nil)),
			Certificates: []v1alpha1.Certificate{one(former, &left), one(ca, nil)},
		},
	}
}

func parsed(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// good is what is known of the source when all is right.
func good(t *testing.T) survey.Known {
	t.Helper()
	bundle, _, problem := cabundle.ParseSource(inspectFile(t, "ca.pem"))
	if problem != nil {
		t.Fatal(problem)
	}
	return survey.Known{Reading: cabundle.Reading{Bundle: bundle}, Published: published(t)}
}

// target inspects a target.
func target(known survey.Known, object cabundle.Object) *survey.Inspection {
	return survey.InspectTarget(inspectedAt, survey.Judge(inspectedAt, object, known))
}

func refused(reason cabundle.Reason, detail, remedy string) survey.Known {
	return survey.Known{Reading: cabundle.Reading{Problem: &cabundle.Problem{Reason: reason, Detail: detail, Remedy: remedy}}}
}

// TestInspectPrints compares what is printed with the golden files. UPDATE_GOLDEN=yes writes them.
func TestInspectPrints(t *testing.T) {
	ca, former, evil := inspectFile(t, "ca.pem"), inspectFile(t, "former.pem"), inspectFile(t, "evil.pem")
	forbidden := refused(cabundle.SourceForbidden, "you may not read Secret default/webhook-tls", "let its role get it")
	forbidden.Published = published(t)
	busy := target(good(t), configuration(t, fromSecret, owned, ca, bytes.Join([][]byte{former, ca}, nil), ca))
	busy.Events = []survey.Event{
		{Type: "Warning", Reason: "SourceNotFound", Message: `caBundle not injected: \x1b[2J`, Count: 3, Last: inspectedAt.Add(-90 * time.Second)},
		{Type: "Normal", Reason: "Injected", Message: "caBundle injected", Last: inspectedAt.Add(-72 * time.Hour)},
	}
	dialled := target(good(t), configuration(t, fromSecret, "[]", ca, former, nil))
	for n, trusted := range [][]byte{ca, former, nil} {
		dial := survey.Dial{Webhooks: []string{string(rune('a' + n))}, Server: "Service default/webhook, port 443", ServerName: "webhook.default.svc", Way: "reached by forwarding port 9443 of Pod default/webhook-0"}
		dial.Serves(inspectedAt, []*x509.Certificate{parsed(t, inspectFile(t, "leaf.pem"))}, trusted)
		dialled.Dials = append(dialled.Dials, dial)
	}
	for name, inspection := range map[string]*survey.Inspection{
		"injected":         busy,
		"dialled":          dialled,
		"not-annotated":    target(survey.Known{}, configuration(t, nil, "[]", former)),
		"malformed":        target(survey.Known{}, configuration(t, map[string]string{cabundle.InjectCAFromAnnotation: "webhook\x1b[31m"}, "[]", nil)),
		"source-missing":   target(refused(cabundle.SourceNotFound, "Secret default/webhook-tls does not exist", "create it, or correct the annotation"), configuration(t, fromSecret, "[]", []byte("\n"))),
		"not-allowed":      target(refused(cabundle.SourceNotAllowed, "Secret default/webhook-tls does not allow it", "its owner can"), configuration(t, fromSecret, "[]", ca)),
		"source-invalid":   target(refused(cabundle.SourceInvalid, "Secret default/webhook-tls: ca.crt holds no certificate: it is empty", "let its issuer fill it in"), configuration(t, fromSecret, "[]", nil)),
		"forbidden":        target(forbidden, configuration(t, fromSecret, "[]", ca)),
		"nothing-known":    target(refused(cabundle.SourceForbidden, "you may not read Secret default/webhook-tls", ""), configuration(t, fromSecret, "[]", ca, nil)),
		"junk":             target(good(t), configuration(t, fromSecret, "[]", []byte("Q2c9PQ=="), evil, append(cabundletest.PrivateKey(), ca...), negative(t), []byte("{{ .Values.ca }}"))),
		"hundred":          target(good(t), configuration(t, fromSecret, "[]", bytes.Repeat(ca, 100))),
		"not-published":    target(survey.Known{Reading: good(t).Reading}, configuration(t, fromSecret, "[]", nil)),
		"another-injector": target(survey.Known{Reading: good(t).Reading}, configuration(t, fromSecret, "[]", ca)),
		"source": survey.InspectSource(inspectedAt, cabundle.Reference{Kind: cabundle.Secret, Namespace: "default", Name: "webhook-tls"}, good(t), []survey.Finding{
			survey.Judge(inspectedAt, configuration(t, fromSecret, "[]", ca), good(t)), survey.Judge(inspectedAt, configuration(t, fromSecret, "[]", nil), good(t)),
		}),
		"cabundle": survey.InspectCABundle(inspectedAt, published(t), nil),
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".txt", inspected(terminal{}, inspection))
			narrow := inspected(terminal{is: true, width: 40}, inspection)
			for line := range strings.Lines(narrow) {
				if words := strings.Fields(line); len(words) > 1 && utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 40 && utf8.RuneCountInString(words[0])+8 < 40 {
					t.Errorf("on 40 columns there is a line %q", line)
				}
			}
			if name == "injected" {
				golden(t, "narrow.txt", narrow)
			}
			noControl(t, narrow)
		})
	}
}

// owned are managedFields in which others own caBundles.
const owned = `[
  {"manager": "helm", "operation": "Apply", "time": "2026-06-14T12:00:00Z", "fieldsType": "FieldsV1",
   "fieldsV1": {"f:webhooks": {"k:{\"name\":\"a.example.com\"}": {".": {}, "f:name": {}, "f:clientConfig": {"f:caBundle": {}}}}}},
  {"manager": "caject", "operation": "Update", "fieldsType": "FieldsV1",
   "fieldsV1": {"f:webhooks": {"k:{\"name\":\"b.example.com\"}": {"f:clientConfig": {"f:caBundle": {}}}}}},
  {"manager": "kubectl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}]`

// negative returns a certificate that Go cannot parse.
func negative(t *testing.T) []byte { return cabundletest.NegativeSerial(inspectFile(t, "former.pem")) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "inspect", name)
	if os.Getenv("UPDATE_GOLDEN") == "yes" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// noControl fails the test if text has anything that a terminal obeys.
func noControl(t *testing.T, text string) {
	t.Helper()
	if at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e') }); at >= 0 {
		t.Errorf("a control character is printed: %q", text[at:])
	}
}

func TestWhatIsInspected(t *testing.T) {
	secret := survey.Subject{Source: cabundle.Reference{Kind: cabundle.Secret, Namespace: "a", Name: "b"}}
	for name, test := range map[string]struct {
		args      []string
		namespace string
		want      survey.Subject
		wrong     string // in the error
	}{
		"a target":                        {args: []string{"vwc/a"}, want: survey.Subject{Target: cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: "a"}}},
		"kind and name apart":             {args: []string{"crd", "a.example.com"}, want: survey.Subject{Target: cabundle.Target{Kind: cabundle.CustomResourceDefinition, Name: "a.example.com"}}},
		"a kind with its group":           {args: []string{"apiservice.apiregistration.k8s.io/v1.a"}, want: survey.Subject{Target: cabundle.Target{Kind: cabundle.APIService, Name: "v1.a"}}},
		"a secret":                        {args: []string{"secret/a/b"}, want: secret},
		"a secret in the namespace given": {args: []string{"secret/b"}, namespace: "a", want: secret},
		"a secret, apart":                 {args: []string{"secrets", "a/b"}, want: secret},
		"a certificate":                   {args: []string{"Certificate/a/b"}, want: survey.Subject{Source: cabundle.Reference{Kind: cabundle.Certificate, Namespace: "a", Name: "b"}}},
		"the API server's CA":             {args: []string{"apiserver"}, want: survey.Subject{Source: cabundle.Reference{Kind: cabundle.APIServer}}},
		"a CABundle":                      {args: []string{"cabundle/secret.a.b"}, want: survey.Subject{CABundle: "secret.a.b"}},
		"an unknown kind":                 {args: []string{"pod/a"}, wrong: `"pod" carries no caBundle that caject fills`},
		"a kind alone":                    {args: []string{"vwc"}, wrong: `"vwc" is not KIND/NAME`},
		"nothing":                         {args: []string{""}, wrong: "carries no caBundle"},
		"a name that leads elsewhere":     {args: []string{"vwc/.."}, wrong: "is not KIND/NAME"},
		"too many slashes":                {args: []string{"vwc/a/b"}, wrong: "is not KIND/NAME"},
		"a secret without namespace":      {args: []string{"secret/b"}, wrong: `"secret/b" is not secret/NAMESPACE/NAME`},
		"a secret with too much":          {args: []string{"secret/a/b/c"}, wrong: "is not secret/NAMESPACE/NAME"},
		"a CABundle without name":         {args: []string{"cabundle/"}, wrong: "is not KIND/NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseSubject(test.args, test.namespace)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (test.wrong != "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("the error is %v, not %q", err, test.wrong)
			}
		})
	}
}
