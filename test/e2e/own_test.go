package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// What caject's role lets it change, by JSON patch, and what is not its job: of all kinds, of webhook configurations, and of each kind.
var metadataThefts = map[string]string{
	"a label":             `[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`,
	"the annotation":      `[{"op":"remove","path":"/metadata/annotations"}]`,
	"another annotation":  `[{"op":"add","path":"/metadata/annotations/a","value":"b"}]`,
	"a finalizer":         `[{"op":"add","path":"/metadata/finalizers","value":["example.com/wait"]}]`,
	"an owner":            `[{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"Namespace","name":"default","uid":"x"}]}]`,
	"nothing but a label": `[{"op":"add","path":"/metadata/labels","value":{}},{"op":"add","path":"/metadata/labels/a","value":"b"}]`,
}

var configurationThefts = map[string]string{
	"the service":            `[{"op":"replace","path":"/webhooks/1/clientConfig/service/name","value":"thief"}]`,
	"the path":               `[{"op":"add","path":"/webhooks/0/clientConfig/service/path","value":"/thief"}]`,
	"the url":                `[{"op":"replace","path":"/webhooks/1/clientConfig","value":{"url":"https://thief.example.com"}}]`,
	"the rules":              `[{"op":"replace","path":"/webhooks/1/rules/0/resources","value":["secrets"]}]`,
	"the failure policy":     `[{"op":"replace","path":"/webhooks/2/failurePolicy","value":"Ignore"}]`,
	"the time-out":           `[{"op":"replace","path":"/webhooks/2/timeoutSeconds","value":1}]`,
	"a match condition":      `[{"op":"add","path":"/webhooks/0/matchConditions","value":[{"name":"a","expression":"false"}]}]`,
	"a selector":             `[{"op":"replace","path":"/webhooks/0/namespaceSelector","value":{"matchLabels":{"a":"b"}}}]`,
	"the name":               `[{"op":"replace","path":"/webhooks/0/name","value":"thief.example.com"}]`,
	"fewer webhooks":         `[{"op":"remove","path":"/webhooks/0"}]`,
	"none":                   `[{"op":"remove","path":"/webhooks"}]`,
	"one more":               `[{"op":"copy","from":"/webhooks/0","path":"/webhooks/-"},{"op":"replace","path":"/webhooks/3/name","value":"thief.example.com"}]`,
	"the order":              `[{"op":"move","from":"/webhooks/0","path":"/webhooks/2"}]`,
	"a caBundle and a label": `[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"Q0E="},{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`,
}

var thefts = map[cabundle.Kind]map[string]string{
	cabundle.MutatingWebhookConfiguration:   configurationThefts,
	cabundle.ValidatingWebhookConfiguration: configurationThefts,
	cabundle.CustomResourceDefinition: {
		"the service":  `[{"op":"replace","path":"/spec/conversion/webhook/clientConfig/service/name","value":"thief"}]`,
		"the strategy": `[{"op":"replace","path":"/spec/conversion","value":{"strategy":"None"}}]`,
		"the versions": `[{"op":"replace","path":"/spec/conversion/webhook/conversionReviewVersions","value":["v1beta1"]}]`,
		"the schema":   `[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/description","value":"x"}]`,
		"a version":    `[{"op":"replace","path":"/spec/versions/1/served","value":false}]`,
		"a short name": `[{"op":"add","path":"/spec/names/shortNames","value":["thief"]}]`,
	},
	cabundle.APIService: {
		"the service":  `[{"op":"replace","path":"/spec/service/name","value":"thief"}]`,
		"the port":     `[{"op":"replace","path":"/spec/service/port","value":1}]`,
		"verification": `[{"op":"remove","path":"/spec/caBundle"},{"op":"add","path":"/spec/insecureSkipTLSVerify","value":true}]`,
		"the priority": `[{"op":"replace","path":"/spec/versionPriority","value":99}]`,
	},
}

// TestAStolenTokenCannotChangeMoreThanCABundles does with caject's own token what its role allows, and what its job is not.
func TestAStolenTokenCannotChangeMoreThanCABundles(t *testing.T) {
	t.Parallel()
	i := strict(t)
	config, err := clientcmd.BuildConfigFromFlags("", i.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := playground.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	good := playground.NewCA("good")
	for kind, make := range kinds {
		object := make("stolen"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "unknown"))
		playground.SetCABundles(object, good)
		i.create(t, object)
		i.thieves(t, kind, object, stolen)
	}
}

// thieves fails the test unless a client with caject's token can change nothing but the caBundles of object, and the admin all of it.
func (i *installation) thieves(t *testing.T, kind cabundle.Kind, object client.Object, stolen client.Client) {
	t.Helper()
	patch := func(c client.Client, change string) error {
		return c.Patch(t.Context(), object.DeepCopyObject().(client.Object), client.RawPatch("application/json-patch+json", []byte(change)), client.DryRunAll)
	}
	eventually(t, "refuse "+string(kind), func(context.Context) error {
		if err := patch(stolen, metadataThefts["a label"]); !apierrors.IsForbidden(err) {
			return fmt.Errorf("it is allowed: %v", err)
		}
		return nil
	})
	for _, of := range []map[string]string{metadataThefts, thefts[kind]} {
		for sentence, change := range of {
			if err := patch(stolen, change); err == nil || !strings.Contains(err.Error(), "caject changes caBundles alone") {
				t.Errorf("%s: %s: %v", kind, sentence, err)
			}
			if err := patch(i.client, change); err != nil && strings.Contains(err.Error(), "caBundles alone") {
				t.Errorf("%s: %s, by somebody else: %v", kind, sentence, err)
			}
		}
	}
	paths := map[cabundle.Kind]string{cabundle.CustomResourceDefinition: "/spec/conversion/webhook/clientConfig/caBundle", cabundle.APIService: "/spec/caBundle"}
	path := paths[kind]
	if path == "" {
		path = "/webhooks/1/clientConfig/caBundle"
	}
	for sentence, change := range map[string]string{
		"nothing":     `[]`,
		"a caBundle":  fmt.Sprintf(`[{"op":"add","path":%q,"value":%q}]`, path, playground.Entry(playground.NewCA("next"))),
		"no caBundle": fmt.Sprintf(`[{"op":"remove","path":%q}]`, path),
		"owners":      `[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`,
	} {
		if err := patch(stolen, change); err != nil {
			t.Errorf("%s: %s: %v", kind, sentence, err)
		}
	}
}

// TestOnlyCajectWritesShards does as cluster admin what people do by accident.
func TestOnlyCajectWritesShards(t *testing.T) {
	t.Parallel()
	i := strict(t)
	const refusal = "caject writes the PodTemplates that it publishes in itself"
	caject := i.asCaject(t)
	shard := playground.NewShard("guarded", nil)
	if err := caject.Create(t.Context(), shard); err != nil {
		t.Fatal(err)
	}
	plain := playground.NewShard("plain", nil)
	plain.Labels = nil
	i.create(t, plain)
	elsewhere := playground.NewShard("elsewhere", nil)
	elsewhere.Namespace = namespace
	i.create(t, elsewhere)
	change := func(c client.Client, name, patch string) error {
		object := playground.NewShard(name, nil)
		return c.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(patch)), client.DryRunAll)
	}
	const labelled = `{"metadata":{"labels":{"caject.io/published":"caject"}}}`
	for sentence, write := range map[string]func() error{
		"create": func() error {
			return i.client.Create(t.Context(), playground.NewShard("another", nil), client.DryRunAll)
		},
		"annotate": func() error { return change(i.client, "guarded", `{"metadata":{"annotations":{"a":"b"}}}`) },
		"unlabel":  func() error { return change(i.client, "guarded", `{"metadata":{"labels":null}}`) },
		"relabel": func() error {
			return change(i.client, "guarded", `{"metadata":{"labels":{"caject.io/published":"x"}}}`)
		},
		"label": func() error { return change(i.client, "plain", labelled) },
		"publish more": func() error {
			return change(i.client, "guarded", `{"template":{"spec":{"volumes":[{"name":"published","csi":{"driver":"caject.io","volumeAttributes":{"apiserver":"Q0E="}}}]}}}`)
		},
	} {
		eventually(t, sentence, func(context.Context) error {
			if err := write(); err == nil || !strings.Contains(err.Error(), refusal) {
				return fmt.Errorf("it is allowed: %v", err)
			}
			return nil
		})
	}
	for sentence, err := range map[string]error{
		"caject":              change(caject, "guarded", `{"metadata":{"annotations":{"a":"b"}}}`),
		"another PodTemplate": change(i.client, "plain", `{"metadata":{"annotations":{"a":"b"}}}`),
		"deleting":            i.client.Delete(t.Context(), shard),
	} {
		if err != nil {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

// TestABundleCanBeRequired is about those who would rather have a request fail.
func TestABundleCanBeRequired(t *testing.T) {
	t.Parallel()
	i := strict(t, "policy.requireBundle=Deny")
	i.shard(t, "required", map[string]string{"secret/e2e/good": playground.Entry(playground.NewCA("good"))})
	create := func(object client.Object) error { return i.client.Create(t.Context(), object, client.DryRunAll) }
	for kind, make := range kinds {
		name := "required" + strings.ToLower(string(kind))
		eventually(t, "refuse "+name, func(context.Context) error {
			err := create(make(name, playground.FromSecret(namespace, "unknown")))
			if err == nil || !strings.Contains(err.Error(), "policy.requireBundle") {
				return fmt.Errorf("it is allowed: %v", err)
			}
			return nil
		})
		placeholder := make(name, playground.FromSecret(namespace, "unknown"))
		playground.SetCABundles(placeholder, []byte("\n"))
		if create(placeholder) == nil {
			t.Errorf("%s: a placeholder is taken for a bundle", kind)
		}
		held := make(name, playground.FromSecret(namespace, "unknown"))
		playground.SetCABundles(held, playground.NewCA("held"))
		if err := errors.Join(create(held), create(make(name, nil))); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		// The source is ready. Where no policy fills, and no webhook is answered, that does not help.
		if err := create(make(name, playground.FromSecret(namespace, "good"))); (err == nil) != i.byPolicy(t, kind) {
			t.Errorf("%s, whose source is ready: %v", kind, err)
		}
	}
}
