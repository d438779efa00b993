package survey

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/v1alpha1"
)

var (
	now    = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	year   = 365 * 24 * time.Hour
	a      = cabundletest.CA("a", now.Add(-year), now.Add(year))
	b      = cabundletest.CA("b", now.Add(-year), now.Add(2*year))
	former = cabundletest.CA("former", now.Add(-2*year), now.Add(-year))
)

// webhooks returns a webhook configuration with annotations, whose webhooks w0, w1, … hold the given caBundles.
func webhooks(annotations map[string]string, held ...[]byte) cabundle.Object {
	var list []any
	for i, caBundle := range held {
		config := map[string]any{}
		if caBundle != nil {
			config["caBundle"] = base64.StdEncoding.EncodeToString(caBundle)
		}
		list = append(list, map[string]any{"name": "w" + string(rune('0'+i)), "clientConfig": config})
	}
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": "x", "annotations": annotations}, "webhooks": list})
	if err != nil {
		panic(err)
	}
	return cabundle.ParseObject(cabundle.ValidatingWebhookConfiguration, raw)
}

var fromSecret = map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name"}

// holding is what is known of a source that holds ca.
func holding(ca ...[]byte) Known {
	bundle, _, problem := cabundle.ParseSource(slices.Concat(ca...))
	return Known{Reading: cabundle.Reading{Bundle: bundle, Problem: problem}}
}

func problem(reason cabundle.Reason) Known {
	return Known{Reading: cabundle.Reading{Problem: &cabundle.Problem{Reason: reason, Detail: "it is so", Remedy: "do this"}}}
}

// published returns known, and that caject publishes ca of the source; with a reason, that it is not ready.
func (k Known) published(reason string, ca ...[]byte) Known {
	k.Published = &v1alpha1.CABundle{Spec: v1alpha1.CABundleSpec{Source: "secret/ns/name"}}
	k.Published.Status.CABundle = base64.StdEncoding.EncodeToString(slices.Concat(ca...))
	ready := metav1.Condition{Type: v1alpha1.Ready, Status: metav1.ConditionTrue, Reason: "Published"}
	if reason != "" {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, reason, "caject says so"
	}
	k.Published.Status.Conditions = []metav1.Condition{ready}
	return k
}

func (k Known) distrusting(ca []byte) Known {
	k.Reading.Distrusted = []string{cabundle.Fingerprint(cabundle.ParseExisting(ca).Certificates()[0])}
	return k
}

func TestJudge(t *testing.T) {
	t.Parallel()
	replacing := map[string]string{cabundle.InjectCAFromSecretAnnotation: "ns/name", cabundle.ModeAnnotation: "replace"}
	tests := map[string]struct {
		object  cabundle.Object
		known   Known
		state   State
		reason  cabundle.Reason
		message string // part of it, or of the remedy
	}{
		"it holds what its source has":                    {webhooks(fromSecret, a), holding(a), Injected, "", ""},
		"it holds more":                                   {webhooks(fromSecret, slices.Concat(a, b)), holding(a), Injected, "", ""},
		"an expired one beside it does no harm":           {webhooks(fromSecret, slices.Concat(former, a)), holding(a), Injected, "", ""},
		"as cainjector copies it, with the expired one":   {webhooks(fromSecret, slices.Concat(a, former)), holding(a, former), Injected, "", ""},
		"text around it":                                  {webhooks(fromSecret, slices.Concat([]byte("# a\n"), a)), holding(a), Injected, "", ""},
		"it holds nothing":                                {webhooks(fromSecret, nil), holding(a), Pending, "", "it holds no certificate in w0"},
		"a placeholder":                                   {webhooks(fromSecret, []byte("\n")), holding(a), Pending, "", "it holds no certificate in w0"},
		"one of two is empty":                             {webhooks(fromSecret, a, nil), holding(a), Pending, "", "it holds no certificate in w1"},
		"five are empty":                                  {webhooks(fromSecret, nil, nil, nil, nil, nil), holding(a), Pending, "", "in w0, w1, w2 and 2 more webhooks"},
		"it holds another":                                {webhooks(fromSecret, b), holding(a), Pending, "", "does not hold all certificates of the source in w0"},
		"half of a rotation":                              {webhooks(fromSecret, a), holding(a, b), Pending, "", "does not hold all certificates"},
		"with replace, it holds more":                     {webhooks(replacing, slices.Concat(a, b)), holding(a), Pending, "", "should not hold any more"},
		"with replace, it holds that":                     {webhooks(replacing, a), holding(a), Injected, "", ""},
		"a distrusted one":                                {webhooks(fromSecret, slices.Concat(a, b)), holding(a, b).distrusting(b), Pending, "", "should not hold any more"},
		"the distrusted one has left":                     {webhooks(fromSecret, a), holding(a, b).distrusting(b), Injected, "", ""},
		"all are distrusted":                              {webhooks(fromSecret, a), holding(a).distrusting(a), Refused, cabundle.SourceDistrusted, "new CA"},
		"the source has expired":                          {webhooks(fromSecret, a), holding(former), Refused, cabundle.SourceExpired, ""},
		"the source is not there":                         {webhooks(fromSecret, a), problem(cabundle.SourceNotFound), Refused, cabundle.SourceNotFound, "do this"},
		"nobody injects":                                  {webhooks(fromSecret, nil), holding(a), Pending, "", "is an injector running?"},
		"caject has not read it yet":                      {webhooks(fromSecret, a), holding(b).published("", a), Pending, "", "has not read the source since it changed"},
		"caject knows it":                                 {webhooks(fromSecret, a), holding(b).published("", a, b), Pending, "", "caject knows the source"},
		"it may not be read, and caject publishes it":     {webhooks(fromSecret, a), problem(cabundle.SourceForbidden).published("", a), Injected, "", "judged by what caject publishes"},
		"it may not be read, and caject publishes more":   {webhooks(fromSecret, a), problem(cabundle.SourceForbidden).published("", a, b), Pending, "", "does not hold all"},
		"it may not be read, and caject cannot use it":    {webhooks(fromSecret, a), problem(cabundle.SourceForbidden).published("SourceInvalid"), Refused, cabundle.SourceInvalid, "caject says so"},
		"it may not be read, and nothing is published":    {webhooks(fromSecret, a), problem(cabundle.SourceForbidden), Unverified, "", "is not known"},
		"it may not be read, and the target is empty":     {webhooks(fromSecret, a, nil), problem(cabundle.SourceForbidden), Pending, "", "it holds no certificate"},
		"caject publishes nothing of it yet":              {webhooks(fromSecret, a), problem(cabundle.SourceForbidden).published("", nil), Refused, cabundle.SourceUnavailable, "has not read"},
		"the annotation is malformed":                     {webhooks(map[string]string{cabundle.InjectCAFromSecretAnnotation: "name"}, a), Known{}, Refused, cabundle.InvalidAnnotation, "has no slash"},
		"the annotation is misspelt":                      {webhooks(map[string]string{"certmanager.k8s.io/inject-ca-from": "ns/name"}, a), Known{}, Refused, cabundle.InvalidAnnotation, "it is cert-manager.io/inject-ca-from"},
		"no annotation":                                   {webhooks(nil, a), Known{}, NotAnnotated, "", "no annotation names a source"},
		"no webhooks":                                     {webhooks(fromSecret), holding(a), NotInjectable, "", "it has no webhooks"},
		"no webhooks, and a source that is not there":     {webhooks(fromSecret), problem(cabundle.SourceNotFound), NotInjectable, "", ""},
		"nothing can be had, and the target holds former": {webhooks(fromSecret, former), holding(a), Pending, "", "does not hold all"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := Judge(now, test.object, test.known)
			if found.State != test.state || found.Reason != test.reason {
				t.Errorf("%s %q, want %s %q (%s)", found.State, found.Reason, test.state, test.reason, found.Message)
			}
			if !strings.Contains(found.Message+"; "+found.Remedy, test.message) {
				t.Errorf("message %q, remedy %q: without %q", found.Message, found.Remedy, test.message)
			}
		})
	}
}

func TestWhenTheFirstCertificateExpires(t *testing.T) {
	t.Parallel()
	found := Judge(now, webhooks(fromSecret, b, slices.Concat(b, a)), holding(a))
	if found.Expires == nil || !found.Expires.Equal(now.Add(year)) {
		t.Errorf("it expires at %v, want %v", found.Expires, now.Add(year))
	}
	if found := Judge(now, webhooks(fromSecret, nil), holding(a)); found.Expires != nil {
		t.Errorf("without a certificate it expires at %v", found.Expires)
	}
}

func TestParseSelection(t *testing.T) {
	t.Parallel()
	vwc, crd := cabundle.ValidatingWebhookConfiguration, cabundle.CustomResourceDefinition
	tests := map[string]struct {
		args    []string
		want    Selection
		refused string
	}{
		"nothing is all":             {want: Selection{}},
		"a kind":                     {args: []string{"ValidatingWebhookConfiguration"}, want: Selection{Kinds: []cabundle.Kind{vwc}}},
		"its plural, with the group": {args: []string{"customresourcedefinitions.apiextensions.k8s.io"}, want: Selection{Kinds: []cabundle.Kind{crd}}},
		"with version and group":     {args: []string{"customresourcedefinition.v1.apiextensions.k8s.io"}, want: Selection{Kinds: []cabundle.Kind{crd}}},
		"short names":                {args: []string{"vwc,crd"}, want: Selection{Kinds: []cabundle.Kind{vwc, crd}}},
		"an object":                  {args: []string{"crd/a.b.c"}, want: Selection{Named: []cabundle.Target{{Kind: crd, Name: "a.b.c"}}}},
		"a kind and names":           {args: []string{"crd", "a", "b"}, want: Selection{Named: []cabundle.Target{{Kind: crd, Name: "a"}, {Kind: crd, Name: "b"}}}},
		"two kinds":                  {args: []string{"crd", "vwc"}, want: Selection{Kinds: []cabundle.Kind{crd, vwc}}},
		"a kind and an object":       {args: []string{"crd", "vwc/a"}, want: Selection{Kinds: []cabundle.Kind{crd}, Named: []cabundle.Target{{Kind: vwc, Name: "a"}}}},
		"another kind":               {args: []string{"pods"}, refused: `"pods" carries no caBundle`},
		"another group":              {args: []string{"customresourcedefinition.example.com"}, refused: "carries no caBundle"},
		"without a name":             {args: []string{"crd/"}, refused: "is not KIND/NAME"},
		"two slashes":                {args: []string{"crd/a/b"}, refused: "is not KIND/NAME"},
		"a folder as name":           {args: []string{"crd/.."}, refused: "is not KIND/NAME"},
		"a name with a slash":        {args: []string{"crd", "a%2fb"}, refused: "cannot be a name"},
		"another kind and a name":    {args: []string{"pods", "a"}, refused: `"pods" carries no caBundle`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseSelection(test.args)
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("error %v, want %q", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestArgumentsAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, kind := range cabundle.Kinds() {
		target := cabundle.Target{Kind: kind, Name: "a.b"}
		selection, err := ParseSelection([]string{Argument(target)})
		if diff := cmp.Diff([]cabundle.Target{target}, selection.Named); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}
