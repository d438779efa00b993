package node

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/caject/caject/test/playground"
)

// TestOnlyTheAPIServerIsAnswered has the API server show a client certificate, as docs/security.md says, and caject want one.
func TestOnlyTheAPIServerIsAnswered(t *testing.T) {
	ctx := t.Context()
	if err := cluster.showCertificate(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cluster.KillAPIServer(), cluster.StartAPIServer()); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(cluster.file("apiserver", "client-cert-auth-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: playground.Namespace, Name: "callers"}, Data: map[string]string{"ca.crt": string(ca)}}
	if err := cluster.until(ctx, "the API server is back", func(ctx context.Context) error { return cluster.client.Create(ctx, trusted) }); err != nil {
		t.Fatal(err)
	}
	// The upgrade returns once the API server's calls get through.
	if err := cluster.upgrade(ctx, "policy.enabled=false", "webhook.clientCAConfigMap=callers"); err != nil {
		t.Fatal(err)
	}
	if filled, err := cluster.call(ctx, 0); err != nil || !filled {
		t.Errorf("a call with a certificate: filled is %t, %v", filled, err)
	}
	pods, err := cluster.pods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range pods {
		if status := postTo(ctx, t, one); status != http.StatusForbidden {
			t.Errorf("a call without a certificate is answered with %d", status)
		}
	}
	if err := cluster.upgrade(ctx); err != nil {
		t.Fatal(err)
	}
}

// postTo calls a pod without a client certificate, and returns the HTTP status.
func postTo(ctx context.Context, t *testing.T, one pod) int {
	t.Helper()
	url := "https://" + net.JoinHostPort(one.Status.PodIP, "9443") + "/inject"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	// Whom it talks to is not the question here.
	caller := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer caller.CloseIdleConnections()
	response, err := caller.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// showCertificate writes the configuration of admission, in which the API server finds what to show to whom. It reads that when it starts.
func (r *rig) showCertificate() error {
	if err := r.WriteUser(r.kubeconfig("caller"), "caller"); err != nil {
		return err
	}
	user, err := clientcmd.LoadFromFile(r.kubeconfig("caller"))
	if err != nil {
		return err
	}
	shown := clientcmdapi.NewConfig()
	for _, one := range user.AuthInfos {
		shown.AuthInfos["caject.caject.svc"] = one
	}
	plugins := `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: MutatingAdmissionWebhook
    configuration: &webhooks
      apiVersion: apiserver.config.k8s.io/v1
      kind: WebhookAdmissionConfiguration
      kubeConfigFile: ` + r.file("webhooks.kubeconfig") + `
  - name: ValidatingAdmissionWebhook
    configuration: *webhooks
`
	file := r.file("admission.yaml")
	r.Configure(func(a *envtest.APIServer) { a.Configure().Set("admission-control-config-file", file) })
	return errors.Join(clientcmd.WriteToFile(*shown, r.file("webhooks.kubeconfig")), os.WriteFile(file, []byte(plugins), 0o600))
}

// file returns the path of one of the node's files.
func (r *rig) file(names ...string) string {
	return filepath.Join(append([]string{r.Dir}, names...)...)
}
