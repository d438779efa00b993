package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
)

// account returns the bearer token of a new ServiceAccount, which may get the given URLs.
func (i *installation) account(t *testing.T, name string, urls ...string) string {
	t.Helper()
	i.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	if len(urls) > 0 {
		i.create(t,
			&rbacv1.ClusterRole{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Rules:      []rbacv1.PolicyRule{{NonResourceURLs: urls, Verbs: []string{"get"}}},
			},
			&rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
				Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
			})
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := i.control.WriteKubeconfig(t.Context(), namespace, name, path); err != nil {
		t.Fatal(err)
	}
	return token(t, path)
}

// token returns the bearer token in a kubeconfig.
func token(t *testing.T, kubeconfig string) string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return config.BearerToken
}

// TestMetricsForSome asks the real API server who may read metrics.
func TestMetricsForSome(t *testing.T) {
	t.Parallel()
	i := own(t, "metrics.secure=true")
	process := i.run(t, "caject.log", "--v=5")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := i.metricsClient(t)
	url := fmt.Sprintf("localhost:%d/metrics", i.MetricsPort)
	get := func(ctx context.Context, bearer string) (int, string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+url, nil)
		if err != nil {
			return 0, "", err
		}
		if bearer != "" {
			request.Header.Set("Authorization", "Bearer "+bearer)
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, string(body), err
	}
	prometheus := i.account(t, "prometheus", "/metrics")
	callers := map[string]struct {
		token  string
		status int
	}{
		"nobody": {"", http.StatusUnauthorized},
		"a token that the API server did not give": {"eyJhbGciOiJub25lIn0.e30.", http.StatusUnauthorized},
		"somebody without the right":               {i.account(t, "powerless"), http.StatusForbidden},
		"somebody with another right":              {i.account(t, "other", "/healthz"), http.StatusForbidden},
		"caject itself":                            {token(t, i.Kubeconfig), http.StatusForbidden},
		"Prometheus":                               {prometheus, http.StatusOK},
	}
	for sentence, caller := range callers {
		t.Run(sentence, func(t *testing.T) {
			eventually(t, "answer", func(ctx context.Context) error { // a role is known to the API server a little later
				status, body, err := get(ctx, caller.token)
				if err == nil && (status != caller.status || strings.Contains(body, "caject_") != (status == http.StatusOK)) {
					err = fmt.Errorf("status %d, %d bytes", status, len(body))
				}
				return err
			})
		})
	}
	if response, err := http.Get("http://" + url); err == nil {
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			t.Error("metrics are served over HTTP, too")
		}
	}
	if strings.Contains(process.ReadLog(), prometheus) {
		t.Error("the log holds a token")
	}
}

// metricsCA returns the CA of the metrics server, once caject has made it.
func (i *installation) metricsCA(t *testing.T) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	eventually(t, "make the CA of metrics", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := i.client.Get(ctx, client.ObjectKey{Namespace: playground.Namespace, Name: "caject-metrics-ca"}, &secret); err != nil {
			return err
		}
		if !pool.AppendCertsFromPEM(secret.Data["ca.crt"]) {
			return errors.New("there is none")
		}
		return nil
	})
	return pool
}

// TestATokenOfCajectListsNoSecrets tries what a thief of the token would, on an API server whose audit log is not looked at.
func TestATokenOfCajectListsNoSecrets(t *testing.T) {
	t.Parallel()
	i := own(t, "sources.namespaces={default}")
	config, err := clientcmd.BuildConfigFromFlags("", i.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	thief, err := playground.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	i.create(t, playground.NewSecret(namespace, "stolen", playground.NewCA("stolen")), playground.NewSecret("default", "stolen", playground.NewCA("stolen")))
	named := func(in, name string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: name}}
	}
	get := func(in, name string) func() error {
		return func() error {
			return thief.Get(t.Context(), client.ObjectKey{Namespace: in, Name: name}, &corev1.Secret{})
		}
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"ca.crt":"Cg=="}}`))
	attempts := map[string]struct {
		do      func() error
		allowed bool
	}{
		"get a Secret of a namespace of sources": {get("default", "stolen"), true},
		"get one elsewhere":                      {get(namespace, "stolen"), false},
		"get another one of its own namespace":   {get(playground.Namespace, "stolen"), false},
		"list all Secrets":                       {func() error { return thief.List(t.Context(), &corev1.SecretList{}) }, false},
		"list those of a namespace of sources":   {func() error { return thief.List(t.Context(), &corev1.SecretList{}, client.InNamespace("default")) }, false},
		"watch them": {func() error {
			watch, err := thief.Watch(t.Context(), &corev1.SecretList{}, client.InNamespace("default"))
			if err == nil {
				watch.Stop()
			}
			return err
		}, false},
		"change one":      {func() error { return thief.Patch(t.Context(), named("default", "stolen"), patch) }, false},
		"delete one":      {func() error { return thief.Delete(t.Context(), named("default", "stolen")) }, false},
		"create one":      {func() error { return thief.Create(t.Context(), named("default", "new")) }, false},
		"delete its own":  {func() error { return thief.Delete(t.Context(), named(playground.Namespace, "caject-ca")) }, false},
		"list ConfigMaps": {func() error { return thief.List(t.Context(), &corev1.ConfigMapList{}) }, false},
		"list Pods":       {func() error { return thief.List(t.Context(), &corev1.PodList{}) }, false},
		"delete a target": {func() error { return thief.Delete(t.Context(), playground.NewAPIService("stolen", nil)) }, false},
		"create a target": {func() error { return thief.Create(t.Context(), playground.NewAPIService("stolen", nil)) }, false},
		"make itself admin": {func() error {
			return thief.Create(t.Context(), &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "stolen"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			})
		}, false},
	}
	for sentence, attempt := range attempts {
		t.Run(sentence, func(t *testing.T) {
			err := attempt.do()
			if attempt.allowed && err != nil || !attempt.allowed && !apierrors.IsForbidden(err) {
				t.Errorf("the API server says: %v", err)
			}
		})
	}
}

// TestNothingSecretIsLogged has caject see a key in all the ways it can, at a verbosity that nobody should use.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s", "logging.verbosity=5")
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := cabundletest.PrivateKey()
	good := playground.NewSecret(namespace, "logged", playground.NewCA("logged"))
	good.Data["tls.key"] = key
	bad := playground.NewSecret(namespace, "loggedbad", append(playground.NewCA("logged"), key...))
	targets := []client.Object{
		playground.NewCRD("logged", playground.FromSecret(namespace, "logged")),
		playground.NewValidating("logged", 1, playground.FromSecret(namespace, "logged")),
	}
	i.create(t, good, bad)
	i.create(t, targets...)
	i.create(t, playground.NewAPIService("loggedbad", playground.FromSecret(namespace, "loggedbad")))
	after := playground.NewCA("logged after")
	good.Data["ca.crt"] = after // a hint
	if err := i.client.Update(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		eventually(t, "rotate", func(ctx context.Context) error {
			if err := i.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
				return err
			}
			if !bytes.Contains(playground.CABundles(target)[0], after) {
				return errors.New("not yet")
			}
			return nil
		})
	}
	var caSecret corev1.Secret
	if err := i.client.Get(t.Context(), client.ObjectKey{Namespace: playground.Namespace, Name: "caject-ca"}, &caSecret); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"PEM": "-----BEGIN", "caject's token": token(t, i.Kubeconfig)}
	for name, text := range map[string][]byte{"the key of a source": key, "caject's own key": caSecret.Data["tls.key"]} {
		if len(text) < 100 {
			t.Fatalf("%s has %d bytes: this test does not know where it is", name, len(text))
		}
		secrets[name] = string(bytes.Split(text, []byte("\n"))[1])
		secrets[name+" in base64"] = base64.StdEncoding.EncodeToString(text)[40:100]
	}
	log := process.ReadLog()
	if !strings.Contains(log, "received request") {
		t.Error("the log is not at verbosity 5")
	}
	for name, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %s", name)
		}
	}
}

// TestConnectionsThatSayNothingEnd holds many connections, with nothing, half a handshake or half a request. The API server
// is served all the while, and they end by themselves.
func TestConnectionsThatSayNothingEnd(t *testing.T) {
	t.Parallel()
	const connections = 150
	address := fmt.Sprintf("localhost:%d", shared.WebhookPort)
	ended := make(chan error, connections)
	for n := range connections {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
		switch n % 3 {
		case 1: // the beginning of a ClientHello
			_, err = connection.Write([]byte{0x16, 0x03, 0x01, 0x01, 0x00})
		case 2:
			secure := tls.Client(connection, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
			_, err = io.WriteString(secure, "POST /inject HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		}
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = connection.SetReadDeadline(time.Now().Add(2 * time.Minute))
			_, err := io.Copy(io.Discard, connection)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil // closed, or reset
			}
			ended <- err
		}()
	}
	shared.works(t, "slowloris")
	for range connections {
		if err := <-ended; err != nil {
			t.Fatalf("a connection is still held: %v", err)
		}
	}
}
