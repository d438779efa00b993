package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

// installation is caject as it is installed: what its Deployment says.
type installation struct {
	deployment *appsv1.Deployment
	flags      map[string]string // of caject, without dashes
	pods       []corev1.Pod
	podsErr    error // why pods are not known
	callers    []caller
	callersErr error // why those are not known
}

func newInstallation(deployment *appsv1.Deployment) *installation {
	i := &installation{deployment: deployment, flags: map[string]string{}}
	for _, container := range deployment.Spec.Template.Spec.Containers {
		if container.Name != "caject" {
			continue
		}
		for _, arg := range container.Args {
			name, value, valued := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
			if !valued {
				value = "true"
			}
			i.flags[name] = value
		}
	}
	return i
}

// defaults is what the chart installs in a namespace if it is told nothing else.
func defaults(namespace string) *installation {
	return &installation{
		deployment: &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: usualNamespace}},
		flags: map[string]string{
			"webhook-configuration": usualNamespace, "hint-configuration": usualNamespace + "-hints", "ca-secret": namespace + "/caject-ca",
			"leader-election-namespace": namespace, "publish-to": namespace + "/caject",
		},
	}
}

func (i *installation) flag(name string) string { return i.flags[name] }
func (i *installation) namespace() string       { return i.deployment.Namespace }
func (i *installation) account() string         { return i.deployment.Spec.Template.Spec.ServiceAccountName }

// injects reports whether it has anything to do with kind: its own webhook configurations are targets in any case.
func (i *installation) injects(kind cabundle.Kind) bool {
	switch kind {
	case cabundle.MutatingWebhookConfiguration:
		return true
	case cabundle.ValidatingWebhookConfiguration:
		if i.flag("hint-configuration") != "" {
			return true
		}
	}
	return i.flag("enable-"+kind.Resource().Resource+"-injectable") != "false"
}

// source names caject's own CA, as the annotation caject.io/inject-ca-from does. Its webhook configurations name it, too.
func (i *installation) source() string { return "secret/" + i.flag("ca-secret") }

// find looks for the installation. It is nil if there is none; the verdicts say so, or what is to be said of it.
func (e *examination) find(ctx context.Context) (*installation, []verdict, error) {
	list, err := e.api.AppsV1().Deployments(e.namespace).List(ctx, metav1.ListOptions{LabelSelector: survey.InstallationLabel})
	if apierrors.IsForbidden(err) && e.namespace == "" {
		return nil, nil, fmt.Errorf("caject cannot be looked for: name its namespace with --namespace: %w", err)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(list.Items) == 0 {
		return nil, []verdict{judgeFound(nil, e.namespace)}, nil
	}
	i := newInstallation(&list.Items[0])
	verdicts := []verdict{judgeFound(list.Items, e.namespace)}
	if labels, err := metav1.LabelSelectorAsSelector(i.deployment.Spec.Selector); err != nil {
		i.podsErr = err
	} else if pods, err := e.api.CoreV1().Pods(i.namespace()).List(ctx, metav1.ListOptions{LabelSelector: labels.String()}); err != nil {
		i.podsErr = err
	} else {
		i.pods = pods.Items
	}
	i.callers, i.callersErr = e.callersOf(ctx, i)
	return i, append(verdicts, judgeReplicas(i), e.leader(ctx, i)), nil
}

// judgeFound says which installations there are.
func judgeFound(found []appsv1.Deployment, namespace string) verdict {
	const check = "installation"
	var names []string
	for i := range found {
		names = append(names, found[i].Namespace+"/"+found[i].Name)
	}
	switch {
	case len(found) == 0 && namespace == "":
		return fail(check, "install.md", "no Deployment with the label %s is in any namespace: caject is not installed", survey.InstallationLabel)
	case len(found) == 0:
		return fail(check, "install.md", "no Deployment with the label %s is in namespace %s", survey.InstallationLabel, namespace)
	case len(found) > 1:
		return fail(check, "install.md#before", "there are %d (%s), and one serves all namespaces: uninstall the others. What follows is about %s", len(found), some(names), names[0])
	}
	text := "Deployment " + names[0]
	if chart := found[0].Labels["helm.sh/chart"]; chart != "" {
		text += ", chart " + chart
	}
	return ok(check, "%s", text)
}

// judgeReplicas says how many pods are ready, and which versions they run.
func judgeReplicas(i *installation) verdict {
	const check = "replicas"
	if i.podsErr != nil {
		return unread(check, i.podsErr)
	}
	wanted := 1
	if i.deployment.Spec.Replicas != nil {
		wanted = int(*i.deployment.Spec.Replicas)
	}
	ready := i.ready()
	versions := versionsOf(ready)
	switch {
	case wanted == 0:
		return fail(check, "troubleshooting.md#cajectabsent", "the Deployment is scaled to 0")
	case len(i.pods) == 0:
		return warn(check, "troubleshooting.md#cajectabsent", "no pods are scheduled: what caject serves is looked at only if its Service leads out of the cluster")
	case len(ready) == 0:
		return fail(check, "troubleshooting.md#caject-is-not-ready", "none of %d pods is ready (%s)", len(i.pods), some(podStates(i.pods)))
	case len(ready) < wanted:
		return fail(check, "troubleshooting.md#cajectreplicasmissing", "%d of %d are ready", len(ready), wanted)
	case len(versions) > 1:
		return warn(check, "install.md#upgrade", "%d of %d are ready, and they run different versions: %s", len(ready), wanted, strings.Join(versions, ", "))
	}
	return ok(check, "%d of %d are ready, and run %s", len(ready), wanted, strings.Join(versions, ", "))
}

// ready returns the pods that are called.
func (i *installation) ready() []corev1.Pod {
	var ready []corev1.Pod
	for _, pod := range i.pods {
		is := func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue }
		if pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, is) {
			ready = append(ready, pod)
		}
	}
	return ready
}

// versionsOf returns the images of caject in pods, each once.
func versionsOf(pods []corev1.Pod) []string {
	var versions []string
	for _, pod := range pods {
		for _, container := range pod.Spec.Containers {
			if container.Name == "caject" && !slices.Contains(versions, container.Image) {
				versions = append(versions, container.Image)
			}
		}
	}
	return versions
}

// podStates says how pods are.
func podStates(pods []corev1.Pod) []string {
	var states []string
	for _, pod := range pods {
		state := string(pod.Status.Phase)
		for _, status := range pod.Status.ContainerStatuses {
			if status.State.Waiting != nil && status.State.Waiting.Reason != "" {
				state = status.State.Waiting.Reason
			}
		}
		states = append(states, pod.Name+": "+state)
	}
	return states
}

// leader looks at the Lease of the replica that acts at once.
func (e *examination) leader(ctx context.Context, i *installation) verdict {
	if i.flag("leader-elect") == "false" {
		return ok("leader", "--leader-elect=false: all act at once")
	}
	lease, err := e.api.CoordinationV1().Leases(i.flag("leader-election-namespace")).Get(ctx, i.flag("webhook-configuration"), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return judgeLeader(nil, e.now())
	case err != nil:
		return unread("leader", err)
	}
	return judgeLeader(lease, e.now())
}

// judgeLeader says who acts at once; lease is nil if there is none. Without a leader the others act a second later, so it is no failure.
func judgeLeader(lease *coordinationv1.Lease, now time.Time) verdict {
	const check, page = "leader", "how-it-works.md#several-replicas"
	if lease == nil {
		return warn(check, page, "there is no Lease: no replica has ever run, or it may not write one")
	}
	holder, fresh := held(lease, now)
	switch {
	case fresh:
		name, _, _ := strings.Cut(holder, "_")
		return ok(check, "%s holds the Lease", name)
	case holder == "":
		return warn(check, page, "nobody holds the Lease: injections outside admission take a second longer")
	}
	return warn(check, page, "%s holds the Lease and has not renewed it for %s: injections outside admission take a second longer",
		holder, duration.HumanDuration(now.Sub(lease.Spec.RenewTime.Time)))
}
