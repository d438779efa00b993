package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"

	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/cabundle/v1alpha1"
)

var forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "", errors.New(`user "a" cannot list resource "things"`))

func TestJudgeFound(t *testing.T) {
	of := func(namespaces ...string) []appsv1.Deployment {
		var all []appsv1.Deployment
		for _, namespace := range namespaces {
			all = append(all, appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "caject", Labels: map[string]string{"helm.sh/chart": "caject-1.2.3"}}})
		}
		return all
	}
	want{failed, "caject is not installed"}.of(t, judgeFound(nil, ""))
	want{failed, "is in namespace a"}.of(t, judgeFound(nil, "a"))
	want{passed, "Deployment a/caject, chart caject-1.2.3"}.of(t, judgeFound(of("a"), ""))
	want{failed, "there are 2 (a/caject, b/caject)"}.of(t, judgeFound(of("a", "b"), ""))
}

func pod(name, image string, ready bool) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "caject", Image: image}}}}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}[ready]}}
	return p
}

func TestJudgeReplicas(t *testing.T) {
	crashing := pod("a", "caject:v1", false)
	crashing.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
	ending := pod("b", "caject:v0", true)
	ending.DeletionTimestamp = &metav1.Time{}
	for sentence, test := range map[string]struct {
		replicas *int32
		pods     []corev1.Pod
		err      error
		want     want
	}{
		"both are ready":       {ptr.To(int32(2)), []corev1.Pod{pod("a", "caject:v1", true), pod("b", "caject:v1", true)}, nil, want{passed, "2 of 2 are ready, and run caject:v1"}},
		"one, by default":      {nil, []corev1.Pod{pod("a", "caject:v1", true)}, nil, want{passed, "1 of 1"}},
		"one ends":             {nil, []corev1.Pod{pod("a", "caject:v1", true), ending}, nil, want{passed, "run caject:v1"}},
		"one of two":           {ptr.To(int32(2)), []corev1.Pod{pod("a", "caject:v1", true), pod("b", "caject:v1", false)}, nil, want{failed, "1 of 2 are ready"}},
		"none":                 {ptr.To(int32(1)), []corev1.Pod{crashing}, nil, want{failed, "none of 1 pods is ready (a: ImagePullBackOff)"}},
		"different versions":   {ptr.To(int32(2)), []corev1.Pod{pod("a", "caject:v1", true), pod("b", "caject:v2", true)}, nil, want{warned, "caject:v1, caject:v2"}},
		"no pods at all":       {ptr.To(int32(2)), nil, nil, want{warned, "no pods are scheduled"}},
		"scaled away":          {ptr.To(int32(0)), nil, nil, want{failed, "scaled to 0"}},
		"pods may not be read": {ptr.To(int32(2)), nil, forbidden, want{untold, `you may not list resource "things"`}},
	} {
		t.Run(sentence, func(t *testing.T) {
			i := &installation{deployment: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: test.replicas}}, pods: test.pods, podsErr: test.err}
			test.want.of(t, judgeReplicas(i))
		})
	}
}

// TestWhatADeploymentSays takes the arguments of caject's container.
func TestWhatADeploymentSays(t *testing.T) {
	d := &appsv1.Deployment{}
	d.Spec.Template.Spec.Containers = []corev1.Container{
		{Name: "sidecar", Args: []string{"--ca-secret=other/one"}},
		{Name: "caject", Args: []string{"--ca-secret=ns/caject-ca", "--admission-policy"}},
	}
	i := newInstallation(d)
	if i.source() != "secret/ns/caject-ca" || i.flag("admission-policy") != "true" || i.flag("hint-configuration") != "" {
		t.Errorf("it is %v", i.flags)
	}
}

func TestJudgeTrust(t *testing.T) {
	const name = "caject.ns.svc"
	served := func(t *testing.T, name string) (ca []byte, chain []*x509.Certificate) {
		certificate, key, err := cert.GenerateSelfSignedCertKey(name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			t.Fatal(err)
		}
		for _, der := range pair.Certificate {
			parsed, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, parsed)
		}
		return certificate, chain
	}
	ca, chain := served(t, name)
	otherCA, _ := served(t, name)
	_, misnamed := served(t, "other.ns.svc")
	by := func(webhook string, bundle []byte) caller {
		return caller{"caject", webhook, survey.Server{Namespace: "ns", Name: "caject", CABundle: bundle}}
	}
	byURL := caller{"caject", "a", survey.Server{URL: "https://" + name + ":9443/inject", CABundle: ca}}
	year := 365 * 24 * time.Hour
	for sentence, test := range map[string]struct {
		in      time.Duration
		shown   showing
		callers []caller
		want    want
	}{
		"all trust it":          {0, showing{chain: chain}, []caller{by("a", ca), by("b", append(otherCA, ca...))}, want{passed, "accepts it for all 2 webhooks; it expires in"}},
		"by a URL":              {0, showing{chain: chain}, []caller{byURL}, want{passed, "all 1 webhooks"}},
		"the last one does not": {0, showing{chain: chain}, []caller{by("a", ca), by("b", otherCA)}, want{failed, "does not accept it for b of caject: no certificate of the caBundle has issued it"}},
		"an empty caBundle":     {0, showing{chain: chain}, []caller{by("a", nil)}, want{failed, "no certificate in the caBundle"}},
		"another name":          {0, showing{chain: misnamed}, []caller{by("a", ca)}, want{failed, "it is not for caject.ns.svc"}},
		"expired":               {2 * year, showing{chain: chain}, []caller{by("a", ca)}, want{failed, "it expired"}},
		"about to expire":       {year - 48*time.Hour, showing{chain: chain}, []caller{by("a", ca)}, want{warned, "has not been renewed"}},
		"nobody answers":        {0, showing{err: errors.New("connection refused")}, []caller{by("a", ca)}, want{failed, "it shows none: connection refused"}},
		"no right to forward":   {0, showing{err: errors.Join(errNotForwarded, forbidden)}, []caller{by("a", ca)}, want{untold, "you may not"}},
	} {
		t.Run(sentence, func(t *testing.T) { test.want.of(t, judgeTrust(time.Now().Add(test.in), test.shown, test.callers)) })
	}
}

func TestJudgePoliciesOfAnInstallation(t *testing.T) {
	fill, keep := "caject-fill-webhookconfigurations", "caject-keep-apiservices"
	want{passed, "2 MutatingAdmissionPolicies (v1)"}.of(t, judgePoliciesThere("v1", []string{fill, keep}, []string{keep, fill}))
	want{failed, "none that fills"}.of(t, judgePoliciesThere("v1", []string{keep}, []string{keep}))
	want{failed, fill + " has no binding"}.of(t, judgePoliciesThere("v1", []string{fill, keep}, []string{keep}))
	want{failed, "serves no MutatingAdmissionPolicy"}.of(t, judgePoliciesThere("", nil, nil))
	want{warned, "this API server serves none"}.of(t, judgeNoPolicies(""))
	want{warned, "serves MutatingAdmissionPolicy v1: helm upgrade"}.of(t, judgeNoPolicies("v1"))
}

func TestJudgeTries(t *testing.T) {
	want{passed, "answered with it"}.of(t, judgeTried("a", "a.md", "answered with it", nil))
	want{failed, "without a caBundle"}.of(t, judgeTried("a", "a.md", "", errors.New("without a caBundle")))
	want{untold, "you may not"}.of(t, judgeTried("a", "a.md", "", forbidden))
	want{passed, "reaches it"}.of(t, judgeCalled(nil))
	want{failed, "has not called it"}.of(t, judgeCalled(errNotCalled))
	want{untold, "you may not"}.of(t, judgeCalled(forbidden))
}

// samples are metrics of an API server, so many calls of each webhook.
func samples(made, lost string) string {
	return "# HELP " + requests + " Some.\n" +
		requests + `{code="200",name="secrets.hint.caject.io",operation="UPDATE",rejected="false",type="validating"} ` + made + "\n" +
		requests + `{code="200",name="inject.caject.io",operation="CREATE",rejected="false",type="admit"} ` + made + "\n" +
		requests + `{code="200",name="other.example.com",operation="CREATE",rejected="false",type="admit"} 1e+06` + "\n" +
		failedOpen + `{name="secrets.hint.caject.io",type="validating"} ` + lost + "\n" +
		failedOpen + `{name="other.example.com",type="admit"} 1000` + "\n"
}

func TestJudgeCalls(t *testing.T) {
	callers := []caller{{webhook: "inject.caject.io"}, {webhook: "secrets.hint.caject.io"}}
	for sentence, test := range map[string]struct {
		before, after string
		callersErr    error
		err           error
		want          want
	}{
		"none failed":       {samples("100", "0"), samples("101", "0"), nil, nil, want{passed, "of 202 calls since the API server was started 0 failed"}},
		"some, at a start":  {samples("30", "30"), samples("31", "30"), nil, nil, want{passed, "of 62 calls since the API server was started 30 failed"}},
		"many":              {samples("1000", "400"), samples("1001", "400"), nil, nil, want{warned, "400 failed"}},
		"few of very many":  {samples("1e+06", "400"), samples("1e+06", "400"), nil, nil, want{passed, "400 failed"}},
		"one just now":      {samples("100", "0"), samples("101", "1"), nil, nil, want{warned, "1 of them now"}},
		"never called":      {"", "", nil, nil, want{passed, "of 0 calls"}},
		"no metrics":        {"", "", nil, forbidden, want{untold, "you may not"}},
		"no configurations": {"", "", forbidden, nil, want{untold, "you may not"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			test.want.of(t, judgeFailingOpen(&installation{callers: callers, callersErr: test.callersErr}, test.before, test.after, test.err))
		})
	}
}

func TestJudgeHints(t *testing.T) {
	on := func(err error, webhooks ...string) *installation {
		i := defaults("ns")
		i.callersErr = err
		for _, webhook := range webhooks {
			i.callers = append(i.callers, caller{webhook: webhook})
		}
		return i
	}
	const inject, hint = "inject.caject.io", "secrets.hint.caject.io"
	want{warned, "they are off: a rotated CA is noticed within 30s"}.of(t, judgeHints(&installation{flags: map[string]string{"resync-interval": "30s"}}, ""))
	want{failed, "ValidatingWebhookConfiguration caject-hints is not there"}.of(t, judgeHints(on(nil, inject), ""))
	want{untold, "you may not"}.of(t, judgeHints(on(forbidden), ""))
	want{passed, "on, by secrets.hint.caject.io"}.of(t, judgeHints(on(nil, inject, hint), ""))
	want{passed, "of 100 calls since the API server was started 1 failed"}.of(t, judgeHints(on(nil, inject, hint), samples("100", "1")))
	want{warned, "of 1000 calls since the API server was started 500 failed"}.of(t, judgeHints(on(nil, inject, hint), samples("1000", "500")))
}

func TestJudgePublished(t *testing.T) {
	of := func(source, status string) v1alpha1.CABundle {
		b := v1alpha1.CABundle{Spec: v1alpha1.CABundleSpec{Source: source}}
		if status != "" {
			b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.Ready, Status: metav1.ConditionStatus(status), Reason: "SourceNotFound"}}
		}
		return b
	}
	want{warned, "there are none"}.of(t, judgePublished(nil))
	want{passed, "2 of 2 are Ready"}.of(t, judgePublished([]v1alpha1.CABundle{of("a", "True"), of("b", "True")}))
	want{warned, "2 of 3 are not Ready (b: SourceNotFound, c)"}.of(t, judgePublished([]v1alpha1.CABundle{of("a", "True"), of("b", "False"), of("c", "")}))
}
