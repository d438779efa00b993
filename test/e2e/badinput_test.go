package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
)

// refused checks that the API server accepted object, that nothing was filled in, and that whoever looks is told why:
// by a warning where admission webhooks are called, by an Event everywhere.
func refused(t *testing.T, kind cabundle.Kind, object client.Object, reason cabundle.Reason, words ...string) {
	t.Helper()
	message := shared.event(t, object, string(reason))
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("Event %q lacks %q", message, word)
		}
	}
	if strings.Contains(message, "-----") {
		t.Errorf("Event shows PEM: %q", message)
	}
	if kind.Admitted() {
		if len(shared.warnings.about(append([]string{"caject: "}, words...)...)) == 0 {
			t.Errorf("no warning with %q", words)
		}
	}
	if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
	for _, bundle := range playground.CABundles(object) {
		if len(bundle) > 0 {
			t.Errorf("it was filled: %q", bundle)
		}
	}
}

func TestAMalformedAnnotationIsSaid(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"noslash": "name", "nonamespace": "/name", "noname": "e2e/", "slashes": "e2e/a/b", "unresolved": "$(NAMESPACE)/$(NAME)", "space": "e2e/na me",
	} {
		eachKind(t, "malformed"+name, func(t *testing.T, kind cabundle.Kind, object string) {
			annotation := cabundle.InjectCAFromSecretAnnotation
			if len(value)%2 == 0 {
				annotation = cabundle.InjectCAFromAnnotation
			}
			target := kinds[kind](object, map[string]string{annotation: value})
			shared.create(t, target)
			refused(t, kind, target, cabundle.InvalidAnnotation, annotation, value, "namespace/name")
		})
	}
}

// TestASourceThatIsNotUsable makes a target of each bad source, checks that it is refused with its reason, puts the
// source right, and checks that the target is filled.
func TestASourceThatIsNotUsable(t *testing.T) {
	t.Parallel()
	good := playground.NewCA("good")
	tests := map[string]struct {
		secret func(*corev1.Secret) *corev1.Secret // nil: there is none
		reason cabundle.Reason
		words  []string
	}{
		"missing": {func(*corev1.Secret) *corev1.Secret { return nil }, cabundle.SourceNotFound, []string{"does not exist"}},
		"noconsent": {func(s *corev1.Secret) *corev1.Secret { s.Annotations = nil; return s },
			cabundle.SourceNotAllowed, []string{"does not allow it", cabundle.AllowDirectInjectionAnnotation}},
		"halfconsent": {func(s *corev1.Secret) *corev1.Secret {
			s.Annotations[cabundle.AllowDirectInjectionAnnotation] = "True"
			return s
		}, cabundle.SourceNotAllowed, []string{"does not allow it"}},
		"label": {func(s *corev1.Secret) *corev1.Secret {
			s.Annotations, s.Labels = nil, s.Annotations
			return s
		}, cabundle.SourceNotAllowed, []string{"does not allow it", "it is set as a label"}},
		"nokey": {func(s *corev1.Secret) *corev1.Secret { s.Data = map[string][]byte{"tls.crt": good}; return s },
			cabundle.SourceWithoutCA, []string{"has no key ca.crt"}},
		"empty":   {ca(nil), cabundle.SourceInvalid, []string{"holds no certificate"}},
		"garbage": {ca([]byte("garbage")), cabundle.SourceInvalid, []string{"holds no certificate"}},
		"withkey": {ca(append(bytes.Clone(good), cabundletest.PrivateKey()...)), cabundle.SourceInvalid, []string{`"EC PRIVATE KEY"`}},
		"glued":   {ca(append(bytes.TrimSpace(good), good...)), cabundle.SourceInvalid, []string{"no line end between the END of one block and the BEGIN of the next"}},
		"twice":   {ca([]byte(base64.StdEncoding.EncodeToString(good))), cabundle.SourceInvalid, []string{"it is encoded in base64 twice"}},
		"large":   {ca(bytes.Repeat(good, cabundle.MaxSourceBytes/len(good)+1)), cabundle.SourceTooLarge, []string{"more than 65536"}},
		"expired": {ca(cabundletest.CA("expired", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))), cabundle.SourceExpired, []string{"has expired"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachKind(t, "bad"+name, func(t *testing.T, kind cabundle.Kind, object string) {
				if secret := test.secret(playground.NewSecret(namespace, object, bytes.Clone(good))); secret != nil {
					shared.create(t, secret)
				}
				target := kinds[kind](object, playground.FromSecret(namespace, object))
				shared.create(t, target)
				refused(t, kind, target, test.reason, test.words...)

				if err := shared.client.Delete(t.Context(), playground.NewSecret(namespace, object, nil)); client.IgnoreNotFound(err) != nil {
					t.Fatal(err)
				}
				shared.create(t, playground.NewSecret(namespace, object, good))
				shared.filled(t, target, good)
				shared.event(t, target, "Injected")
			})
		})
	}
}

// TestACertificateThatTheAPIServerCannotReadIsLeftOut: the others are injected, and it is said which is not.
func TestACertificateThatTheAPIServerCannotReadIsLeftOut(t *testing.T) {
	t.Parallel()
	eachKind(t, "leftout", func(t *testing.T, kind cabundle.Kind, name string) {
		one, two := playground.NewCA(name+"-one"), playground.NewCA(name+"-two")
		held := slices.Concat(one, cabundletest.NegativeSerial(playground.NewCA(name)), []byte("# a comment on -----BEGIN CERTIFICATE-----\n"), two)
		shared.create(t, playground.NewSecret(namespace, name, held))
		target := kinds[kind](name, playground.FromSecret(namespace, name))
		shared.create(t, target)
		shared.filled(t, target, append(bytes.Clone(one), two...))
		words := "certificate 2 of 3: negative serial number"
		if kind.Admitted() && len(shared.warnings.about("caject: left out of the bundle", words)) == 0 {
			t.Errorf("no warning with %q", words)
		}
		ref := cabundle.Reference{Kind: cabundle.Secret, Namespace: namespace, Name: name}
		eventually(t, "say so in the status", func(ctx context.Context) error {
			object := &v1alpha1.CABundle{}
			if err := shared.client.Get(ctx, client.ObjectKey{Name: ref.PublishedName()}, object); err != nil {
				return err
			}
			ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.Ready)
			if ready == nil || ready.Status != "True" || !strings.Contains(ready.Message, words) {
				return fmt.Errorf("it says %+v", ready)
			}
			return nil
		})
		if !strings.Contains(shared.process.ReadLog(), words) {
			t.Error("nothing in the log")
		}
	})
}

func ca(value []byte) func(*corev1.Secret) *corev1.Secret {
	return func(s *corev1.Secret) *corev1.Secret {
		s.Data = map[string][]byte{"ca.crt": value}
		return s
	}
}

func TestABadSourceDoesNotTakeAGoodBundleAway(t *testing.T) {
	t.Parallel()
	eachKind(t, "turned", func(t *testing.T, kind cabundle.Kind, name string) {
		good := playground.NewCA(name)
		secret := playground.NewSecret(namespace, name, good)
		shared.create(t, secret)
		target := kinds[kind](name, playground.FromSecret(namespace, name))
		shared.create(t, target)
		shared.filled(t, target, good)

		secret.Data["ca.crt"] = cabundletest.PrivateKey()
		if err := shared.client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		shared.event(t, target, string(cabundle.SourceInvalid))
		shared.filled(t, target, good)
	})
}

func TestWhatCannotTakeACABundleIsLeftAlone(t *testing.T) {
	t.Parallel()
	shared.create(t, playground.NewSecret(namespace, "unfit", playground.NewCA("unfit")))
	annotations := playground.FromSecret(namespace, "unfit")

	none := playground.NewCRD("unfitnone", annotations)
	none.Spec.Conversion = nil
	insecure := playground.NewAPIService("unfitinsecure", annotations)
	insecure.Spec.InsecureSkipTLSVerify = true
	local := playground.NewAPIService("unfitlocal", annotations)
	local.Spec.Service = nil
	for _, target := range []client.Object{none, insecure, local, playground.NewMutating("unfitempty", 0, annotations)} {
		shared.create(t, target)
		shared.idle(t, target)
	}

	// Once it can, it is filled.
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(insecure), insecure); err != nil {
			return err
		}
		insecure.Spec.InsecureSkipTLSVerify = false
		return shared.client.Update(t.Context(), insecure)
	}); err != nil {
		t.Fatal(err)
	}
	if err := playground.Holds(insecure, nil); err == nil {
		t.Error("not filled")
	}
}

// idle fails the test unless the metrics say that there is nothing to inject into object, and nobody was told anything.
func (i *installation) idle(t *testing.T, object client.Object) {
	t.Helper()
	eventually(t, "find that "+object.GetName()+" has no place for a caBundle", func(ctx context.Context) error {
		families, err := playground.Metrics(ctx, i.MetricsPort)
		if err == nil && find(families["caject_target_state"], map[string]string{"name": object.GetName(), "state": "idle"}) == nil {
			err = errors.New("the metrics do not say so")
		}
		return err
	})
	events, err := playground.EventsOn(t.Context(), i.client, object)
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		t.Errorf("Event %s: %s", event.Reason, event.Message)
	}
	if warned := i.warnings.about("caject", object.GetName()); len(warned) > 0 {
		t.Errorf("warnings: %q", warned)
	}
}

// TestABundleThatWouldMakeARequestFail is 50 KB in 22 webhooks: the API server itself refuses such an object when
// it gets a little larger.
func TestABundleThatWouldMakeARequestFail(t *testing.T) {
	t.Parallel()
	var big []byte
	for n := 0; len(big) < 50_000; n++ {
		big = append(big, playground.NewCA(fmt.Sprint(n))...)
	}
	shared.create(t, playground.NewSecret(namespace, "toolarge", big))
	target := playground.NewValidating("toolarge", 22, playground.FromSecret(namespace, "toolarge"))
	shared.create(t, target)
	refused(t, cabundle.ValidatingWebhookConfiguration, target, cabundle.TargetTooLarge, "etcd")

	fits := playground.NewValidating("notlarge", 15, playground.FromSecret(namespace, "toolarge"))
	shared.create(t, fits)
	shared.filled(t, fits, big)

	// A CRD near the limit: with the bundle, the person's own create would fail.
	crd := playground.NewCRD("toolarge", playground.FromSecret(namespace, "toolarge"))
	crd.Annotations["filler"] = strings.Repeat("x", 200_000)
	crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties = map[string]apiextensionsv1.JSONSchemaProps{}
	for n := range 125 {
		crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties[fmt.Sprintf("p%d", n)] = apiextensionsv1.JSONSchemaProps{
			Type: "string", Description: strings.Repeat("x", 10_000),
		}
	}
	shared.create(t, crd)
	refused(t, cabundle.CustomResourceDefinition, crd, cabundle.TargetTooLarge, "etcd")
}

func TestAnEventIsNotRepeatedAtEachTry(t *testing.T) {
	t.Parallel()
	target := playground.NewMutating("onlyonce", 1, playground.FromSecret(namespace, "onlyonce"))
	shared.create(t, target)
	shared.event(t, target, string(cabundle.SourceNotFound))
	time.Sleep(3 * time.Second) // some tries, and rounds of the periodic loop
	events, err := playground.EventsOn(t.Context(), shared.client, target)
	if err != nil {
		t.Fatal(err)
	}
	count := int32(0)
	for _, event := range events {
		count += max(event.Count, 1)
	}
	if count != 1 {
		t.Errorf("%d Events", count)
	}
	if n := shared.process.Logged("Not injected", target.Name); n != 1 {
		t.Errorf("%d log lines", n)
	}
}
