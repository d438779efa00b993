package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// api answers as an API server: it may change the object that is created.
type api func(ctx context.Context, object *unstructured.Unstructured) (warnings []string, err error)

func (a api) TryCreate(ctx context.Context, kind cabundle.Kind, raw []byte, _ string) (cabundle.Object, []string, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		return cabundle.Object{}, nil, err
	}
	warnings, err := a(ctx, object)
	if err != nil {
		return cabundle.Object{}, nil, err
	}
	raw, err = object.MarshalJSON()
	return cabundle.ParseObject(kind, raw), warnings, err
}

func TestSelftest(t *testing.T) {
	ca := base64.StdEncoding.EncodeToString(cabundletest.CA("some", time.Now(), time.Now().Add(time.Hour)))
	fill := func(where ...string) api {
		return func(_ context.Context, object *unstructured.Unstructured) ([]string, error) {
			return nil, unstructured.SetNestedField(object.Object, ca, where...)
		}
	}
	crd := []string{"spec", "conversion", "webhook", "clientConfig", "caBundle"}
	for sentence, test := range map[string]struct {
		kinds string
		api   api
		want  string // in what is printed, or in the error
		err   bool
	}{
		"a CRD that is filled":         {"CustomResourceDefinition", fill(crd...), "CustomResourceDefinition: injected in the answer", false},
		"an APIService that is filled": {"APIService", fill("spec", "caBundle"), "certificates: 1, the first to expire on ", false},
		"nobody fills": {"MutatingWebhookConfiguration", func(context.Context, *unstructured.Unstructured) ([]string, error) { return nil, nil },
			"MutatingWebhookConfiguration: the API server answered without a caBundle and without a warning", true},
		"a placeholder is no certificate": {"APIService", func(_ context.Context, object *unstructured.Unstructured) ([]string, error) {
			return nil, unstructured.SetNestedField(object.Object, "Cg==", "spec", "caBundle")
		}, "without a caBundle", true},
		"caject says why not": {"APIService", func(context.Context, *unstructured.Unstructured) ([]string, error) {
			return []string{"caBundle not injected: secret/a/b is not there"}, nil
		}, "and said: caBundle not injected: secret/a/b is not there", true},
		"no right to ask": {"CustomResourceDefinition", func(context.Context, *unstructured.Unstructured) ([]string, error) {
			return nil, errors.New("forbidden")
		}, "forbidden", true},
		"no answer at all": {"APIService", func(ctx context.Context, _ *unstructured.Unstructured) ([]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "context deadline exceeded", true},
		"one of two":   {"APIService,CustomResourceDefinition", fill(crd...), "APIService: the API server answered without a caBundle", true},
		"another kind": {"Secret", nil, `--kinds: there is no test for "Secret"`, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := &selftest{source: "apiserver", kinds: strings.Split(test.kinds, ","), timeout: 50 * time.Millisecond}
			err := s.run(t.Context(), test.api, &out)
			if (err != nil) != test.err {
				t.Fatalf("%v", err)
			}
			said := out.String()
			if err != nil {
				said = err.Error()
			}
			if !strings.Contains(said, test.want) {
				t.Errorf("it says %q", said)
			}
		})
	}
}

// TestSelftestSaysWhatItWasTold: not that its time was over.
func TestSelftestSaysWhatItWasTold(t *testing.T) {
	calls := 0
	answer := func(ctx context.Context, _ *unstructured.Unstructured) ([]string, error) {
		if calls++; calls > 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, errors.New("forbidden")
	}
	s := &selftest{kinds: []string{"APIService"}, timeout: selftestPause + 100*time.Millisecond}
	if err := s.run(t.Context(), api(answer), &bytes.Buffer{}); err == nil || !strings.HasSuffix(err.Error(), "forbidden") {
		t.Errorf("it says %v", err)
	}
}

// TestSelftestTriesAgain: what was just installed may take a moment.
func TestSelftestTriesAgain(t *testing.T) {
	ca := base64.StdEncoding.EncodeToString(cabundletest.CA("some", time.Now(), time.Now().Add(time.Hour)))
	calls := 0
	answer := func(_ context.Context, object *unstructured.Unstructured) ([]string, error) {
		if calls++; calls == 1 {
			return nil, errors.New("not yet")
		}
		if source := object.GetAnnotations()["caject.io/inject-ca-from"]; source != "secret/a/b" {
			return nil, errors.New("the source is " + source)
		}
		return nil, unstructured.SetNestedField(object.Object, ca, "spec", "caBundle")
	}
	s := &selftest{source: "secret/a/b", kinds: []string{"APIService"}, timeout: time.Minute}
	if err := s.run(t.Context(), api(answer), &bytes.Buffer{}); err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
