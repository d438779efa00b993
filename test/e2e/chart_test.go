package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/test/playground"
)

// render renders one template of the chart with values (helm's --set) into object.
func render(t *testing.T, template string, object any, values ...string) {
	t.Helper()
	text, err := helmTemplate(t, append([]string{"--show-only", "templates/" + template}, sets(values)...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

func sets(values []string) []string {
	var args []string
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return args
}

func helmTemplate(t *testing.T, args ...string) (string, error) {
	t.Helper()
	output, err := shared.control.Helm(t.Context(), append([]string{"template", "release", filepath.Join(projectRoot(t), "charts", "caject"), "--namespace", "ns", "--skip-tests", "--kube-version", "1.37"}, args...)...)
	return output.Stdout, err
}

func TestThePodIsRestricted(t *testing.T) {
	t.Parallel()
	var deployment appsv1.Deployment
	render(t, "deployment.yaml", &deployment)
	if *deployment.Spec.Replicas != 2 {
		t.Errorf("%d replicas", *deployment.Spec.Replicas)
	}
	pod, container := deployment.Spec.Template.Spec, deployment.Spec.Template.Spec.Containers[0]
	yes, no, user := true, false, int64(65532)
	wantPod := &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if diff := cmp.Diff(wantPod, pod.SecurityContext); diff != "" {
		t.Error(diff)
	}
	wantContainer := &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	if diff := cmp.Diff(wantContainer, container.SecurityContext); diff != "" {
		t.Error(diff)
	}
	if container.LivenessProbe.HTTPGet.Path != "/livez" || container.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Error("the probes ask for something else")
	}
}

// TestAProcessThatHangsIsNotWaitedFor: its probes and grace periods fit how long preStop takes, and it knows its limit of memory.
func TestAProcessThatHangsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values    []string
		pod, hung int64 // grace periods
	}{{nil, 30, 10}, {[]string{"preStopSeconds=20"}, 45, 25}, {[]string{"preStopSeconds=0"}, 25, 5}} {
		var deployment appsv1.Deployment
		render(t, "deployment.yaml", &deployment, test.values...)
		pod, container := deployment.Spec.Template.Spec, deployment.Spec.Template.Spec.Containers[0]
		if *pod.TerminationGracePeriodSeconds != test.pod || *container.LivenessProbe.TerminationGracePeriodSeconds != test.hung {
			t.Errorf("%q: a pod has %d s to end, one that hangs %d s", test.values, *pod.TerminationGracePeriodSeconds, *container.LivenessProbe.TerminationGracePeriodSeconds)
		}
		if container.LivenessProbe.TimeoutSeconds != 5 || container.ReadinessProbe.TimeoutSeconds != 2 {
			t.Errorf("%q: the probes wait %d s and %d s", test.values, container.LivenessProbe.TimeoutSeconds, container.ReadinessProbe.TimeoutSeconds)
		}
		want := []corev1.EnvVar{{Name: "GOMEMLIMIT", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"}}}}
		if diff := cmp.Diff(want, container.Env); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTheChartsArgumentsFitItsObjects(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values []string
		args   []string
		url    string // of the webhook; empty with a Service
		port   int32
	}{
		"as it is": {nil, []string{"--webhook-configuration=release-caject", "--ca-secret=ns/release-caject-ca", "--serving-names=release-caject.ns.svc"}, "", 443},
		"other names": {[]string{"fullnameOverride=other", "service.port=8443"},
			[]string{"--webhook-configuration=other", "--ca-secret=ns/other-ca", "--serving-names=other.ns.svc"}, "", 8443},
		"a URL":               {[]string{"webhook.url=https://caject.example.com/"}, []string{"--serving-names=caject.example.com"}, "https://caject.example.com/inject", 0},
		"a URL with port":     {[]string{"webhook.url=https://10.0.0.1:9443"}, []string{"--serving-names=10.0.0.1"}, "https://10.0.0.1:9443/inject", 0},
		"a URL with path":     {[]string{"webhook.url=https://lb.example.com:9443/caject"}, []string{"--serving-names=lb.example.com"}, "https://lb.example.com:9443/caject/inject", 0},
		"a URL with IPv6":     {[]string{"webhook.url=https://[fd00::1]:9443"}, []string{"--serving-names=fd00::1"}, "https://[fd00::1]:9443/inject", 0},
		"a URL with bare IP6": {[]string{"webhook.url=https://[fd00::1]"}, []string{"--serving-names=fd00::1"}, "https://[fd00::1]/inject", 0},
		"distrust":            {[]string{"distrust={" + strings.Repeat("0a", 32) + "," + strings.TrimSuffix(strings.Repeat("0A:", 32), ":") + "}"}, []string{"--distrust=" + strings.Repeat("0a", 32) + "," + strings.TrimSuffix(strings.Repeat("0A:", 32), ":")}, "", 443},
		"more arguments":      {[]string{"extraArgs={--v=1,--leaf-lifetime=1h}"}, []string{"--v=1", "--leaf-lifetime=1h"}, "", 443},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			var deployment appsv1.Deployment
			render(t, "deployment.yaml", &deployment, test.values...)
			args := deployment.Spec.Template.Spec.Containers[0].Args
			for _, want := range test.args {
				if !slices.Contains(args, want) {
					t.Errorf("%s is not among %q", want, args)
				}
			}
			var configuration admissionregistrationv1.MutatingWebhookConfiguration
			render(t, "webhookconfiguration.yaml", &configuration, test.values...)
			switch client := configuration.Webhooks[0].ClientConfig; {
			case test.url != "" && (client.URL == nil || *client.URL != test.url || client.Service != nil):
				t.Errorf("clientConfig is %+v", client)
			case test.url == "" && (client.URL != nil || *client.Service.Port != test.port || *client.Service.Path != "/inject"):
				t.Errorf("clientConfig is %+v", client)
			}
			if w := configuration.Webhooks[0]; *w.FailurePolicy != admissionregistrationv1.Ignore ||
				*w.SideEffects != admissionregistrationv1.SideEffectClassNone || *w.TimeoutSeconds != 3 {
				t.Errorf("webhook is %+v", w)
			}
		})
	}
}

// TestAPlainInstallIsAccepted has the API server check all objects of the chart as it is.
func TestAPlainInstallIsAccepted(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{"plain": nil, "a name that looks like a number": {"nameOverride=12e45", "enabled=true"}, "one replica": {"replicaCount=1"}, "no flow schema": {"flowSchema.create=false"}, "webhook configurations alone": {"targets.apiservices=false", "targets.customresourcedefinitions=false"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"install", "another", filepath.Join(projectRoot(t), "charts", "caject"), "--namespace", namespace, "--dry-run=server",
				"--set", "cabundles.enabled=false"}, sets(values)...) // there is one CRD in a cluster, and it is there already
			if _, err := shared.control.Helm(t.Context(), args...); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCajectsReadsHaveTheirOwnQueue asks the API server which flow schema it put caject's requests under.
func TestCajectsReadsHaveTheirOwnQueue(t *testing.T) {
	t.Parallel()
	client, err := kubernetes.NewForConfig(shared.control.Config)
	if err != nil {
		t.Fatal(err)
	}
	shared.works(t, "queue")
	metrics, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, "apiserver_flowcontrol_dispatched_requests_total") && strings.Contains(line, `flow_schema="`+playground.Namespace+`"`) &&
			strings.Contains(line, `priority_level="workload-high"`) {
			return
		}
	}
	t.Error("no request of caject's went through its flow schema")
}

// TestASecondReleaseIsRefused: one caject serves the cluster. Under its own name and namespace it can be upgraded, in whatever way.
func TestASecondReleaseIsRefused(t *testing.T) {
	t.Parallel()
	chart := filepath.Join(projectRoot(t), "charts", "caject")
	for _, where := range [][]string{{"second", "--namespace", playground.Namespace}, {"caject", "--namespace", "second", "--create-namespace"}} {
		for name, helm := range map[string]func(context.Context, ...string) (playground.Output, error){"helm 4": shared.control.Helm, "helm 3": shared.control.Helm3} {
			_, err := helm(t.Context(), append([]string{"install", where[0], chart}, where[1:]...)...)
			if err == nil || !strings.Contains(err.Error(), "caject is in this cluster already, as release caject in namespace caject") {
				t.Errorf("%s install %v: %v", name, where, err)
			}
		}
	}
	upgrade := []string{"upgrade", "caject", chart, "--namespace", playground.Namespace, "--reuse-values", "--dry-run=server"}
	if _, err := shared.control.Helm(t.Context(), upgrade...); err != nil {
		t.Error(err)
	}
}
