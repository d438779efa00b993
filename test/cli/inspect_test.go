package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/test/playground"
)

// inspection runs inspect, and returns what it says as data.
func inspection(t *testing.T, code int, args ...string) *survey.Inspection {
	t.Helper()
	return decodedWith[survey.Inspection](t, cluster.Kubeconfig, code, "inspect", args...)
}

// prints fails the test unless inspect ends with code and prints all of words.
func prints(t *testing.T, code int, args []string, words ...string) {
	t.Helper()
	stdout, stderr, got := run(t, append([]string{"inspect"}, args...)...)
	if got != code {
		t.Errorf("%q: exit code %d, not %d", args, got, code)
	}
	for _, word := range words {
		if !strings.Contains(stdout+stderr, word) {
			t.Errorf("%q: %q is missing", args, word)
		}
	}
	if t.Failed() {
		t.Fatalf("%q prints\n%s%s", args, stdout, stderr)
	}
	t.Logf("%q prints\n%s%s", args, stdout, stderr)
}

// shown waits until the CABundle of target's source shows all that the source holds: that is a moment after the target is filled.
func shown(t *testing.T, target string) {
	t.Helper()
	eventually(t, "show the source of "+target, func(context.Context) error {
		found := inspection(t, 0, target)
		if !slices.ContainsFunc(found.Chain, func(link survey.Link) bool { return link.Name == "published" && link.State == survey.Holds }) {
			return fmt.Errorf("the chain is %+v", found.Chain)
		}
		return nil
	})
}

func TestInspectATarget(t *testing.T) {
	t.Parallel()
	former, ca := playground.NewCA("former"), playground.NewCA("current")
	secret := playground.NewSecret(namespace, "inspect", former)
	create(t, secret)
	for _, object := range []client.Object{
		playground.NewValidating("inspect", 2, playground.FromSecret(namespace, "inspect")),
		playground.NewMutating("inspect", 2, playground.FromSecret(namespace, "inspect")),
		playground.NewCRD("inspects", playground.FromSecret(namespace, "inspect")),
		playground.NewAPIService("inspect", playground.FromSecret(namespace, "inspect")),
	} {
		create(t, object)
		filled(t, object, former)
	}
	shown(t, "vwc/inspect")
	prints(t, 0, []string{"vwc/inspect"}, "ValidatingWebhookConfiguration inspect: Injected", "✓ source: Secret cli/inspect exists",
		"✓ published: CABundle secret.cli.inspect is Ready", "✓ caBundle in w0.inspect.example.com, w1.inspect.example.com: 1 certificate",
		"1: CN=former", "certificate 1 of the source", "ECDSA P-256", "owner of the caBundle: nobody")

	secret.Data["ca.crt"] = ca
	if err := cluster.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for _, object := range []client.Object{
		playground.NewValidating("inspect", 2, nil), playground.NewMutating("inspect", 2, nil), playground.NewCRD("inspects", nil), playground.NewAPIService("inspect", nil),
	} {
		filled(t, object, former, ca)
	}
	shown(t, "vwc/inspect")
	for _, name := range []string{"vwc/inspect", "mutatingwebhookconfiguration/inspect", "crd/inspects.inspects.example.com", "apiservice/v1.inspect.example.com"} {
		found := inspection(t, 0, name)
		if len(found.Places) != 1 || len(found.Places[0].Certificates) != 2 {
			t.Fatalf("%s: %+v", name, found.Places)
		}
		one, two := found.Places[0].Certificates[0], found.Places[0].Certificates[1]
		if !strings.HasPrefix(one.Origin, "a former one of the source, since 20") || two.Origin != "certificate 1 of the source" {
			t.Errorf("%s: the certificates are %q and %q", name, one.Origin, two.Origin)
		}
	}
	prints(t, 0, []string{"secret/cli/inspect"}, "Secret cli/inspect", "1: CN=current", "ValidatingWebhookConfiguration inspect: Injected", "CustomResourceDefinition inspects.inspects.example.com: Injected")
	prints(t, 0, []string{"secret/inspect", "--namespace", namespace}, "Secret cli/inspect")
	prints(t, 0, []string{"cabundle/secret.cli.inspect"}, "1: CN=former", "a former one", "2: CN=current", "Ready=True", "APIService v1.inspect.example.com: Injected")
}

func TestInspectSaysWhereTheChainIsBroken(t *testing.T) {
	t.Parallel()
	valid := playground.NewCA("broken")
	closed := playground.NewSecret(namespace, "broken-closed", valid)
	closed.Annotations = nil
	expired := playground.NewSecret(namespace, "broken-expired", cabundletest.CA("old", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)))
	empty := playground.NewSecret(namespace, "broken-empty", nil)
	empty.Data = map[string][]byte{"tls.key": []byte("never shown")}
	create(t, closed, expired, empty, playground.NewSecret(namespace, "broken-key", cabundletest.PrivateKey()))
	for name, test := range map[string]struct {
		annotations map[string]string
		link        string
		reason      cabundle.Reason
	}{
		"malformed": {map[string]string{cabundle.InjectCAFromAnnotation: "nowhere"}, "annotation", cabundle.InvalidAnnotation},
		"misspelt":  {map[string]string{"cert-manager.io/inject-ca-from-secrets": "a/b"}, "annotation", cabundle.InvalidAnnotation},
		"missing":   {playground.FromSecret(namespace, "broken-missing"), "source", cabundle.SourceNotFound},
		"closed":    {playground.FromSecret(namespace, "broken-closed"), "opt-in", cabundle.SourceNotAllowed},
		"empty":     {playground.FromSecret(namespace, "broken-empty"), "ca.crt", cabundle.SourceWithoutCA},
		"key":       {playground.FromSecret(namespace, "broken-key"), "ca.crt", cabundle.SourceInvalid},
		"expired":   {playground.FromSecret(namespace, "broken-expired"), "ca.crt", cabundle.SourceExpired},
	} {
		create(t, playground.NewValidating("broken-"+name, 1, test.annotations))
		found := inspection(t, 1, "vwc/broken-"+name)
		broken := false
		for _, link := range found.Chain {
			switch {
			case link.Name == test.link:
				broken = link.State == survey.Broken && link.Reason == test.reason
			case broken && link.State != survey.NotReached, !broken && link.State != survey.Holds:
				t.Errorf("%s: %+v", name, link)
			}
		}
		if !broken {
			t.Errorf("%s: the chain is %+v", name, found.Chain)
		}
	}
	// Its certificates are shown all the same, and nothing else of it.
	prints(t, 1, []string{"secret/cli/broken-closed"}, "✗ opt-in: SourceNotAllowed", "1: CN=broken", "ValidatingWebhookConfiguration broken-closed: Refused")
	for _, name := range []string{"broken-key", "broken-empty"} {
		stdout, _, _ := run(t, "inspect", "secret/cli/"+name, "--output", "yaml")
		for _, secret := range []string{"never shown", "BEGIN", "tls.key"} {
			if strings.Contains(stdout, secret) {
				t.Errorf("%s: %q is printed: %s", name, secret, stdout)
			}
		}
	}
}

// TestInspectSaysWhoOwnsACABundle has somebody apply a placeholder, which a policy fills in the same request: the applier owns it then.
func TestInspectSaysWhoOwnsACABundle(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("owned")
	create(t, playground.NewSecret(namespace, "owned", ca))
	object := playground.NewValidating("owned", 1, playground.FromSecret(namespace, "owned"))
	create(t, object)
	filled(t, object, ca)
	prints(t, 0, []string{"vwc", "owned"}, "owner of the caBundle: nobody, as it should be")
	again := playground.NewValidating("owned", 1, playground.FromSecret(namespace, "owned"))
	again.APIVersion, again.Kind = "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"
	again.Webhooks[0].ClientConfig.CABundle = []byte("\n")
	manifest, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Kubectl(t.Context(), string(manifest), "apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "--filename=-"); err != nil {
		t.Fatal(err)
	}
	filled(t, object, ca)
	prints(t, 0, []string{"vwc", "owned"}, "! somebody (Apply), since", "leave caBundle out")
}

func TestInspectShowsEvents(t *testing.T) {
	t.Parallel()
	create(t, playground.NewValidating("eventful", 1, playground.FromSecret(namespace, "eventful-missing")))
	eventually(t, "an Event is shown", func(ctx context.Context) error {
		found := inspection(t, 1, "vwc/eventful")
		if len(found.Events) == 0 || found.Events[0].Reason != string(cabundle.SourceNotFound) {
			return fmt.Errorf("the Events are %+v", found.Events)
		}
		return nil
	})
}

// TestInspectWithFewRights is about people who may read no Secrets, or nothing else than one kind.
func TestInspectWithFewRights(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("few")
	create(t, playground.NewSecret(namespace, "few", ca))
	object := playground.NewValidating("few", 1, playground.FromSecret(namespace, "few"))
	create(t, object)
	filled(t, object, ca)
	shown(t, "vwc/few")
	configurations := rbacv1.PolicyRule{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations"}, Verbs: []string{"get"}}
	bundles := rbacv1.PolicyRule{APIGroups: []string{"caject.io"}, Resources: []string{"cabundles"}, Verbs: []string{"get", "list"}}
	for name, test := range map[string]struct {
		rules []rbacv1.PolicyRule
		args  string
		code  int
		words []string
	}{
		"what caject publishes tells": {[]rbacv1.PolicyRule{configurations, bundles}, "vwc/few", 0, []string{
			"few: Injected", "? source: you may not read Secret cli/few", "certificate 1 of the source, as caject has read it", "note: you may not list events"}},
		"it has certificates": {[]rbacv1.PolicyRule{configurations}, "vwc/few", 0, []string{"few: Unverified", "? published: you may not read cabundles"}},
		"nothing":             {nil, "vwc/few", 2, []string{"error: you may not read ValidatingWebhookConfiguration few"}},
		"no CABundle":         {nil, "cabundle/secret.cli.few", 2, []string{"error: you may not read CABundle secret.cli.few"}},
		"a Secret":            {[]rbacv1.PolicyRule{configurations, bundles}, "secret/cli/few", 0, []string{"? source: you may not read Secret cli/few", "note: you may not list"}},
		"a server":            {[]rbacv1.PolicyRule{configurations, bundles}, "vwc/few --dial", 1, []string{"NotServed: you may not read Service default/webhook"}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := runAs(t, kubeconfigOf(t, test.rules...), append([]string{"inspect"}, strings.Fields(test.args)...)...)
			for _, word := range test.words {
				if !strings.Contains(stdout+stderr, word) {
					t.Errorf("%q is missing", word)
				}
			}
			if code != test.code || t.Failed() {
				t.Errorf("exit code %d, not %d; it prints\n%s%s", code, test.code, stdout, stderr)
			}
		})
	}
}

func TestInspectRefusesBadInput(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"pod/a"}, `error: "pod" carries no caBundle`},
		{[]string{"vwc/absent"}, "error: ValidatingWebhookConfiguration absent does not exist"},
		{[]string{"crd/.."}, "is not KIND/NAME"},
		{[]string{"secret/absent"}, `error: "secret/absent" is not secret/NAMESPACE/NAME`},
		{[]string{"cabundle/absent"}, "error: CABundle absent does not exist"},
		{[]string{"secret/cli/absent", "--dial"}, "error: --dial is for objects with a caBundle"},
		{[]string{"vwc/absent", "--output", "wide"}, `error: --output: "wide" is none of json, yaml`},
		{nil, "error: accepts between 1 and 2 arg(s)"},
	} {
		stdout, stderr, code := run(t, append([]string{"inspect"}, test.args...)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d, %q, %q", test.args, code, stdout, stderr)
		}
	}
	prints(t, 1, []string{"secret/cli/absent"}, "✗ source: SourceNotFound: Secret cli/absent does not exist")
}

// TestInspectNamesJunk has each webhook hold something else, that caject keeps out of: nothing is annotated.
func TestInspectNamesJunk(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("junk\x1b[2J")
	object := playground.NewValidating("junk", 4, nil)
	for i, caBundle := range []string{"{{ .Values.caBundle }}", string(cabundletest.NegativeSerial(ca)), strings.Repeat(string(ca), 100), string(ca) + string(cabundletest.PrivateKey())} {
		object.Webhooks[i].ClientConfig.CABundle = []byte(caBundle)
	}
	create(t, object)
	prints(t, 1, []string{"vwc/junk"}, "junk: NotAnnotated", "it is a placeholder, or damaged", "the API server cannot read it: negative serial number",
		`CN=junk\x1b[2J`, "and 80 more certificates", `it holds a block of type "EC PRIVATE KEY"`)
	stdout, _, _ := run(t, "inspect", "vwc/junk", "--output", "yaml")
	var found survey.Inspection
	if err := yaml.UnmarshalStrict([]byte(stdout), &found); err != nil || len(found.Places) != 4 || len(found.Places[2].Certificates) != 100 {
		t.Errorf("%v, %d places", err, len(found.Places))
	}
	if strings.ContainsRune(stdout, '\x1b') || strings.Contains(stdout, "PRIVATE KEY-") {
		t.Errorf("it prints what it must not: %s", stdout)
	}
}
