package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/test/playground"
)

// publication waits until the CABundle of name is as condition says, and returns it.
func (i *installation) publication(t *testing.T, name, what string, condition func(*v1alpha1.CABundle) bool) *v1alpha1.CABundle {
	t.Helper()
	object := &v1alpha1.CABundle{}
	eventually(t, name+": "+what, func(ctx context.Context) error {
		if err := i.client.Get(ctx, client.ObjectKey{Name: name}, object); err != nil {
			return err
		}
		if !condition(object) {
			return fmt.Errorf("it is %+v, %+v", object.Spec, object.Status)
		}
		return nil
	})
	return object
}

func ready(o *v1alpha1.CABundle) bool {
	return meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.Ready)
}

func because(reason cabundle.Reason) func(*v1alpha1.CABundle) bool {
	return func(o *v1alpha1.CABundle) bool {
		condition := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.Ready)
		return condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == string(reason)
	}
}

func publishing(ca ...[]byte) func(*v1alpha1.CABundle) bool {
	want := base64.StdEncoding.EncodeToString(bytes.Join(ca, nil))
	return func(o *v1alpha1.CABundle) bool { return o.Status.CABundle == want }
}

// changeSecret changes a Secret in the tests' namespace.
func (i *installation) changeSecret(t *testing.T, name string, change func(*corev1.Secret)) {
	t.Helper()
	secret := &corev1.Secret{}
	if err := i.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
		t.Fatal(err)
	}
	change(secret)
	if err := i.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// TestTheLifeOfACABundle follows one from the first target that names its source to the last.
func TestTheLifeOfACABundle(t *testing.T) {
	t.Parallel()
	const name = "secret." + namespace + ".life"
	first, second := playground.NewCA("first"), playground.NewCA("second")
	target := playground.NewValidating("life", 2, playground.FromSecret(namespace, "life"))
	shared.create(t, target)
	object := shared.publication(t, name, "not found", because(cabundle.SourceNotFound))
	if message := object.Status.Conditions[0].Message; !strings.Contains(message, "create it, or correct the annotation") || object.Status.CABundle != "" {
		t.Errorf("it says %q, and publishes %q", message, object.Status.CABundle)
	}

	shared.create(t, playground.NewSecret(namespace, "life", first))
	if output, err := shared.control.Kubectl(t.Context(), "", "wait", "--for=condition=Ready", "--timeout=30s", "cabundle/"+name); err != nil {
		t.Error(output, err)
	}
	shared.publication(t, name, "all injected", func(o *v1alpha1.CABundle) bool { return o.Status.Targets == 1 && o.Status.Injected == 1 })
	output, err := shared.control.Kubectl(t.Context(), "", "get", "cabundle", name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(output.Stdout, "\n")
	if got := strings.Fields(lines[0]); strings.Join(got, " ") != "NAME SOURCE READY REASON TARGETS EXPIRES AGE" || !strings.Contains(lines[1], "secret/e2e/life") || !strings.Contains(lines[1], "True") {
		t.Errorf("kubectl prints\n%s", output.Stdout)
	}

	// A rotation: old and new, until the old one expires.
	shared.changeSecret(t, "life", func(s *corev1.Secret) { s.Data["ca.crt"] = second })
	shared.publication(t, name, "both", publishing(first, second))
	object = shared.publication(t, name, "nothing left to replace", func(o *v1alpha1.CABundle) bool {
		return o.Status.Injected == 1 && len(o.Status.Certificates) == 2
	})
	shared.policiesRead(t, "secret/e2e/life", first, second)
	if certificates := object.Status.Certificates; len(certificates) != 2 || certificates[0].LastSeen == nil || certificates[1].LastSeen != nil ||
		certificates[0].Subject != "CN=first" || certificates[1].NotAfter.IsZero() {
		t.Errorf("it holds %+v", certificates)
	}
	shared.filled(t, target, first, second)

	// Quiet: nothing is written.
	before := object.ResourceVersion
	for range 3 {
		shared.waitForATick(t)
	}
	if object = shared.publication(t, name, "there", ready); object.ResourceVersion != before {
		t.Errorf("it was written without need: %+v", object)
	}

	// Nobody else may change it. Who deletes it gets it made again.
	bad := object.DeepCopy()
	bad.Labels = map[string]string{"a": "b"}
	if err := shared.client.Update(t.Context(), bad); !apierrors.IsForbidden(err) {
		t.Errorf("changed by hand: %v", err)
	}
	bad.Status.CABundle = base64.StdEncoding.EncodeToString(playground.NewCA("intruder"))
	if err := shared.client.Status().Update(t.Context(), bad); !apierrors.IsForbidden(err) {
		t.Errorf("status changed by hand: %v", err)
	}
	if err := shared.client.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	shared.publication(t, name, "made again", func(o *v1alpha1.CABundle) bool {
		return o.UID != bad.UID && ready(o) && o.Status.Injected == 1
	})
	shared.filled(t, target, first, second)
	// Opt-in withdrawn: emptied. Given again, then deleted: kept.
	shared.changeSecret(t, "life", func(s *corev1.Secret) { s.Annotations = nil })
	shared.publication(t, name, "emptied", func(o *v1alpha1.CABundle) bool {
		return because(cabundle.SourceNotAllowed)(o) && o.Status.CABundle == ""
	})
	shared.changeSecret(t, "life", func(s *corev1.Secret) { s.Annotations = playground.NewSecret("", "", nil).Annotations })
	shared.publication(t, name, "published again", publishing(second))
	if err := shared.client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "life"}}); err != nil {
		t.Fatal(err)
	}
	shared.publication(t, name, "kept", func(o *v1alpha1.CABundle) bool { return because(cabundle.SourceNotFound)(o) && publishing(second)(o) })

	if err := shared.client.Delete(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	eventually(t, "removed", func(ctx context.Context) error {
		if err := shared.client.Get(ctx, client.ObjectKey{Name: name}, &v1alpha1.CABundle{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there (%v)", err)
		}
		return nil
	})
}

// policiesRead waits until policies read ca of a source, and no former value.
func (i *installation) policiesRead(t *testing.T, source string, ca ...[]byte) {
	t.Helper()
	want := []string{base64.StdEncoding.EncodeToString(bytes.Join(ca, nil))}
	eventually(t, source+": published", func(ctx context.Context) error {
		published, err := playground.Published(ctx, i.client)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, published[source]); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// waitForATick waits until the periodic loop has run once more.
func (i *installation) waitForATick(t *testing.T) {
	t.Helper()
	last := func(ctx context.Context) (float64, error) {
		families, err := i.metrics(ctx)
		if err != nil {
			return 0, err
		}
		return families["caject_resync_last_success_timestamp_seconds"].GetMetric()[0].GetGauge().GetValue(), nil
	}
	before, err := last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a tick", func(ctx context.Context) error {
		if now, err := last(ctx); err != nil || now == before {
			return fmt.Errorf("none yet (%v)", err)
		}
		return nil
	})
}

// TestWithoutCajectThePolicyFills stops caject and does what people do.
func TestWithoutCajectThePolicyFills(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca, foreign := playground.NewCA("policy"), playground.NewCA("foreign")
	i.create(t, playground.NewSecret(namespace, "policy", ca))
	upgraded := map[cabundle.Kind]client.Object{}
	for kind, make := range kinds {
		upgraded[kind] = make("upgraded"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "policy"))
		i.create(t, upgraded[kind])
		i.filled(t, upgraded[kind], ca)
	}
	fromAPIServer := playground.NewMutating("fromapiserver", 1, map[string]string{cabundle.InjectAPIServerCAAnnotation: "true"})
	i.create(t, fromAPIServer)
	i.filled(t, fromAPIServer, i.control.Config.CAData)
	i.published(t, "policy")
	i.publication(t, "apiserver", "ready", ready)

	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Signal(syscall.SIGCONT) }) // before it is told to end
	of := i.policyKinds(t, playground.Fill)
	if len(of) == 0 {
		i.waitsForCaject(t, process, upgraded, ca)
		return
	}

	// An upgrade resets it to a placeholder, or leaves it out: the answer has the bundle all the same.
	manifest := func(value string) string {
		return fmt.Sprintf(`{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"upgradedvalidatingwebhookconfiguration","annotations":{%q:"e2e/policy"}},
			"webhooks":[{"name":"w0.x.example.com","clientConfig":{"service":{"namespace":"default","name":"webhook"}%s},"sideEffects":"None","admissionReviewVersions":["v1"]},
			{"name":"w1.x.example.com","clientConfig":{"url":"https://example.com/"%s},"sideEffects":"None","admissionReviewVersions":["v1"]}]}`,
			cabundle.InjectCAFromSecretAnnotation, value, value)
	}
	for sentence, value := range map[string]string{"absent": "", "empty": `,"caBundle":""`, "placeholder": `,"caBundle":"Cg=="`} {
		for _, how := range [][]string{{"apply", "--server-side", "--force-conflicts"}, {"apply"}, {"replace"}} {
			output, err := i.control.Kubectl(t.Context(), manifest(value), append(how, "-f", "-", "-o", "json")...)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(output.Stdout, base64.StdEncoding.EncodeToString(ca)); n < 2 {
				t.Errorf("%s, kubectl %v: the answer holds the bundle %d times:\n%s", sentence, how, n, output.Stdout)
			}
		}
	}
	for _, kind := range of {
		object := upgraded[kind]
		i.edit(t, object, []byte("\n"))
		if err := playground.Holds(object, ca); err != nil {
			t.Errorf("%s: in the answer to the update: %v", kind, err)
		}
		fresh := kinds[kind]("fresh"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "policy"))
		i.create(t, fresh)
		if err := playground.Holds(fresh, ca); err != nil {
			t.Errorf("%s: in the answer to the create: %v", kind, err)
		}
		held := kinds[kind]("held"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "policy"))
		playground.SetCABundles(held, foreign)
		i.create(t, held)
		if err := playground.Holds(held, foreign); err != nil {
			t.Errorf("%s: what holds certificates is left to resync: %v", kind, err)
		}
		i.edit(t, held, nil)
		if err := playground.Holds(held, foreign); err != nil {
			t.Errorf("%s: a good bundle that nobody published is lost: %v", kind, err)
		}
	}

	// Which annotation counts, and what is left alone.
	both := map[string]string{cabundle.InjectCAFromSecretAnnotation: namespace + "/policy", cabundle.InjectAPIServerCAAnnotation: "true"}
	for sentence, test := range map[string]struct {
		annotations map[string]string
		want        []byte
	}{
		"none":                           {nil, nil},
		"the API server's":               {map[string]string{cabundle.InjectAPIServerCAAnnotation: "true"}, i.control.Config.CAData},
		"the API server's, but not true": {map[string]string{cabundle.InjectAPIServerCAAnnotation: "True"}, nil},
		"two: that of the Secret":        {both, ca},
		"two, the first one unknown":     {map[string]string{cabundle.InjectCAFromAnnotation: "e2e/x", cabundle.InjectAPIServerCAAnnotation: "true"}, nil},
		"malformed":                      {map[string]string{cabundle.InjectCAFromSecretAnnotation: "policy", cabundle.InjectAPIServerCAAnnotation: "true"}, nil},
		"another Secret":                 {playground.FromSecret(namespace, "other"), nil},
	} {
		probe := playground.NewMutating("probe", 3, test.annotations)
		if err := i.client.Create(t.Context(), probe, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", sentence, err)
		} else if err := playground.Holds(probe, test.want); err != nil {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	none := playground.NewCRD("noconversion", playground.FromSecret(namespace, "policy"))
	none.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
	i.create(t, none)
	empty := playground.NewMutating("nowebhooks", 0, playground.FromSecret(namespace, "policy"))
	i.create(t, empty)

	// caject is back: nobody owns what was filled in, and the foreign bundle is merged.
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, kind := range of {
		held := kinds[kind]("held"+strings.ToLower(string(kind)), nil)
		i.filled(t, held, foreign, ca)
		i.ownerless(t, held)
		i.ownerless(t, upgraded[kind])
	}
}

// ownerless fails the test unless caject gets to own nothing of object.
func (i *installation) ownerless(t *testing.T, object client.Object) {
	t.Helper()
	eventually(t, "disown "+object.GetName(), func(ctx context.Context) error {
		if err := i.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		for _, entry := range object.GetManagedFields() {
			if entry.Manager == "caject" {
				return fmt.Errorf("%s: %s", entry.Operation, entry.FieldsV1.GetRawString())
			}
		}
		return nil
	})
}

// TestThePolicyKeepsAwayFromTheLimit creates a configuration that the published bundle would make too large for etcd.
func TestThePolicyKeepsAwayFromTheLimit(t *testing.T) {
	t.Parallel()
	var large []byte
	for n := 0; len(large) < 60<<10; n++ {
		large = append(large, playground.NewCA(strings.Repeat("x", 60)+fmt.Sprint(n))...)
	}
	shared.create(t, playground.NewSecret(namespace, "limit", large))
	small := playground.NewValidating("limitsmall", 1, playground.FromSecret(namespace, "limit"))
	shared.create(t, small)
	shared.filled(t, small, large)
	shared.published(t, "limit")
	many := playground.NewValidating("limitmany", 40, playground.FromSecret(namespace, "limit"))
	shared.create(t, many)
	if err := playground.Holds(many, nil); err != nil {
		t.Error(err)
	}
	shared.event(t, many, string(cabundle.TargetTooLarge))
}

// TestWithoutCABundles runs caject on clusters that have no CABundles, or do not let it have them.
func TestWithoutCABundles(t *testing.T) {
	t.Parallel()
	i := own(t, "cabundles.enabled=false", "resyncInterval=1s")
	process := i.run(t, "caject.log", "--publish-to="+playground.Namespace+"/caject", "--admission-policy")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	works := func(name string) {
		t.Helper()
		ca, next := playground.NewCA("one"), playground.NewCA("two")
		i.create(t, playground.NewSecret(namespace, name, ca))
		var targets []client.Object
		for kind, make := range kinds {
			targets = append(targets, make(name+strings.ToLower(string(kind)), playground.FromSecret(namespace, name)))
		}
		i.create(t, targets...)
		for _, target := range targets {
			i.filled(t, target, ca)
		}
		i.changeSecret(t, name, func(s *corev1.Secret) { s.Data["ca.crt"] = next })
		for _, target := range targets {
			i.filled(t, target, ca, next)
			i.ownerless(t, target)
		}
	}
	works("forbidden")
	if n := process.Logged("Nothing can be published"); n != 1 {
		t.Errorf("that is said %d times", n)
	}

	// The operator catches up: with the chart's CRD, role and policies. Then the CRD is deleted, and made again.
	upgrade := func() {
		t.Helper()
		if err := i.Upgrade(t.Context(), i.control, "resyncInterval=1s"); err != nil {
			t.Fatal(err)
		}
	}
	upgrade()
	i.publication(t, "secret.e2e.forbidden", "ready", ready)
	if err := i.client.Delete(t.Context(), &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "cabundles.caject.io"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "delete the CRD", func(ctx context.Context) error {
		err := i.client.Get(ctx, client.ObjectKey{Name: "cabundles.caject.io"}, &apiextensionsv1.CustomResourceDefinition{})
		if !apierrors.IsNotFound(err) {
			return errors.New("it is still there")
		}
		return nil
	})
	works("deleted")
	upgrade()
	if _, err := i.control.Kubectl(t.Context(), "", "wait", "--for=condition=Established", "--timeout=30s", "crd/cabundles.caject.io"); err != nil {
		t.Fatal(err)
	}
	i.publication(t, "secret.e2e.deleted", "ready", ready)
	works("again")
}

// TestARetiredCertificateLeavesTheTargets rotates a CA whose predecessor is to go before it expires.
func TestARetiredCertificateLeavesTheTargets(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=500ms", "cabundles.retireAfter=8s")
	if err := i.run(t, "caject.log").WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, second, foreign := playground.NewCA("first"), playground.NewCA("second"), playground.NewCA("foreign")
	i.create(t, playground.NewSecret(namespace, "retire", first))
	held := playground.NewValidating("retireheld", 2, playground.FromSecret(namespace, "retire"))
	playground.SetCABundles(held, foreign)
	i.create(t, held)
	i.filled(t, held, foreign, first)
	var targets []client.Object
	for kind, make := range kinds {
		target := make("retire"+strings.ToLower(string(kind)), playground.FromSecret(namespace, "retire"))
		targets = append(targets, target)
		i.create(t, target)
		i.filled(t, target, first)
	}

	i.changeSecret(t, "retire", func(s *corev1.Secret) { s.Data["ca.crt"] = second })
	i.publication(t, "secret.e2e.retire", "both", publishing(first, second))
	for _, target := range targets {
		i.filled(t, target, first, second)
	}
	i.filled(t, held, foreign, first, second)

	i.publication(t, "secret.e2e.retire", "the new one alone", publishing(second))
	for _, target := range targets {
		i.filled(t, target, second)
		i.ownerless(t, target)
	}
	i.filled(t, held, foreign, second)
	object := i.publication(t, "secret.e2e.retire", "nothing left to do", func(o *v1alpha1.CABundle) bool {
		return o.Status.Injected == o.Status.Targets && len(o.Status.Certificates) == 1
	})
	i.policiesRead(t, "secret/e2e/retire", second)
	// What the source does not hold for want of a Secret is all there is.
	if err := i.client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "retire"}}); err != nil {
		t.Fatal(err)
	}
	i.publication(t, object.Name, "not found for longer than it takes to retire", func(o *v1alpha1.CABundle) bool {
		return because(cabundle.SourceNotFound)(o) && time.Since(o.Status.Conditions[0].LastTransitionTime.Time) > 10*time.Second
	})
	i.publication(t, object.Name, "kept", publishing(second))
	i.filled(t, targets[0], second)
}

// TestTheOldestLeaveABundleThatIsFull rotates a source until not all that it once held has room.
func TestTheOldestLeaveABundleThatIsFull(t *testing.T) {
	t.Parallel()
	large := func(n int) (ca []byte) {
		for m := 0; len(ca) < 24<<10; m++ {
			ca = append(ca, playground.NewCA(strings.Repeat("x", 50)+fmt.Sprint(n, m))...)
		}
		return ca
	}
	first := large(0)
	target := playground.NewValidating("full", 1, playground.FromSecret(namespace, "full"))
	shared.create(t, playground.NewSecret(namespace, "full", first), target)
	shared.filled(t, target, first)
	for n := range 4 {
		shared.changeSecret(t, "full", func(s *corev1.Secret) { s.Data["ca.crt"] = large(n + 1) })
		shared.publication(t, "secret.e2e.full", "rotated", func(o *v1alpha1.CABundle) bool {
			return ready(o) && o.Status.Injected == 1 && strings.Contains(o.Status.Certificates[len(o.Status.Certificates)-1].Subject, fmt.Sprint(n+1, " "))
		})
	}
	object := shared.publication(t, "secret.e2e.full", "small", func(o *v1alpha1.CABundle) bool { return len(o.Status.CABundle) <= 87384 })
	if text := shared.event(t, object, "CertificatesDropped"); !strings.Contains(text, "oldest") || !strings.Contains(text, "--retire-after") {
		t.Errorf("the Event says %q", text)
	}
}
