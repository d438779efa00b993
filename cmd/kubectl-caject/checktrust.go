package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/caject/caject/cabundle/survey"
)

// caller is one webhook of caject's configurations: whom the API server calls there, and whom it trusts.
type caller struct {
	configuration, webhook string
	server                 survey.Server
}

// showing is the certificate that one replica shows, or why it is not known.
type showing struct {
	replica string
	chain   []*x509.Certificate // the leaf first
	err     error
}

// callersOf reads caject's webhook configurations. Those that are missing are no error: hints may be off.
func (e *examination) callersOf(ctx context.Context, i *installation) ([]caller, error) {
	var all []caller
	webhooks := e.api.AdmissionregistrationV1()
	mutating, err := webhooks.MutatingWebhookConfigurations().Get(ctx, i.flag("webhook-configuration"), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if err == nil {
		for _, w := range mutating.Webhooks {
			all = append(all, caller{mutating.Name, w.Name, survey.ServerOf(w.ClientConfig)})
		}
	}
	name := i.flag("hint-configuration")
	if name == "" {
		return all, nil
	}
	hints, err := webhooks.ValidatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		if apierrors.IsNotFound(err) {
			err = nil
		}
		return all, err
	}
	for _, w := range hints.Webhooks {
		all = append(all, caller{hints.Name, w.Name, survey.ServerOf(w.ClientConfig)})
	}
	return all, nil
}

// trust holds what each replica shows against what the API server trusts.
func (e *examination) trust(ctx context.Context, i *installation) []verdict {
	callers, err := i.callers, i.callersErr
	if err != nil {
		return []verdict{unread("certificates", err)}
	}
	if len(callers) == 0 {
		return []verdict{fail("certificates", "troubleshooting.md#caject-is-not-ready", "MutatingWebhookConfiguration %s is not there", i.flag("webhook-configuration"))}
	}
	var verdicts []verdict
	for _, shown := range e.showings(ctx, i, callers[0]) {
		verdicts = append(verdicts, judgeTrust(e.now(), shown, callers))
	}
	if len(verdicts) == 0 {
		verdicts = append(verdicts, unknown("certificates", "no replica runs"))
	}
	return verdicts
}

// showings dials each replica that runs, ready or not, or what the Service leads to where there are no pods.
func (e *examination) showings(ctx context.Context, i *installation, to caller) []showing {
	var all []showing
	for _, pod := range i.pods {
		if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			all = append(all, e.shownBy(ctx, &pod, to.server.ServerName()))
		}
	}
	if len(i.pods) > 0 || to.server.URL != "" {
		return all
	}
	service, err := e.api.CoreV1().Services(to.server.Namespace).Get(ctx, to.server.Name, metav1.GetOptions{})
	if err != nil || service.Spec.Type != corev1.ServiceTypeExternalName {
		return all
	}
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address := net.JoinHostPort(service.Spec.ExternalName, strconv.FormatInt(to.server.Port, 10))
	chain, err := handshake(dialling, address, to.server.ServerName())
	return append(all, showing{address, chain, err})
}

// shownBy dials one pod, by way of the API server.
func (e *examination) shownBy(ctx context.Context, pod *corev1.Pod, serverName string) showing {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	chain, err := e.plugin.shownByPod(ctx, pod.Namespace, pod.Name, webhookPort(pod), serverName)
	if errors.As(err, &notForwarded{}) {
		err = fmt.Errorf("%w: %w", errNotForwarded, err)
	}
	return showing{pod.Name, chain, err}
}

// errNotForwarded says that it is not the replica that has failed.
var errNotForwarded = errors.New("the API server does not forward to it")

// webhookPort returns the port on which a pod serves admission.
func webhookPort(pod *corev1.Pod) int32 {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == "webhook" {
				return port.ContainerPort
			}
		}
	}
	return 9443
}

// judgeTrust says whether each caller accepts what a replica shows.
func judgeTrust(now time.Time, shown showing, callers []caller) verdict {
	check := "certificate of " + shown.replica
	if shown.err != nil {
		if errors.Is(shown.err, errNotForwarded) {
			return unread(check, shown.err)
		}
		return fail(check, "troubleshooting.md#the-api-server-does-not-reach-the-webhook", "it shows none: %s", strings.Join(strings.Fields(shown.err.Error()), " "))
	}
	leaf := shown.chain[0]
	if now.After(leaf.NotAfter) {
		return fail(check, "troubleshooting.md#cajectservingcertificateexpiring", "it expired %s ago", duration.HumanDuration(now.Sub(leaf.NotAfter)))
	}
	for i := range callers {
		if err := callers[i].accepts(now, shown.chain); err != nil {
			return fail(check, "troubleshooting.md#caject-is-not-ready", "the API server does not accept it for %s of %s: %v", callers[i].webhook, callers[i].configuration, err)
		}
	}
	left := duration.HumanDuration(leaf.NotAfter.Sub(now))
	// A leaf is renewed at two thirds of its life.
	if life := leaf.NotAfter.Sub(leaf.NotBefore); leaf.NotAfter.Sub(now) < life/4 {
		return warn(check, "troubleshooting.md#cajectservingcertificateexpiring", "it expires in %s, and has not been renewed", left)
	}
	return ok(check, "the API server accepts it for all %d webhooks; it expires in %s", len(callers), left)
}

// accepts verifies a chain as the API server does.
func (c *caller) accepts(now time.Time, chain []*x509.Certificate) error {
	dial := survey.Dial{ServerName: c.server.ServerName()}
	if dial.Serves(now, chain, c.server.CABundle); dial.Verdict != survey.Verified {
		return errors.New(dial.Message)
	}
	return nil
}
