package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// caSecret is the Secret with caject's own CA.
func (i *installation) caSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := i.client.Get(t.Context(), client.ObjectKey{Namespace: playground.Namespace, Name: "caject-ca"}, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// served returns the certificate that caject serves, if it is signed by a CA of ca (PEM).
func served(port int, ca []byte) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	connection, err := tls.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)), &tls.Config{RootCAs: roots, ServerName: "caject.caject.svc"})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0], nil
}

// works checks that an annotated CRD is filled at admission.
func (i *installation) works(t *testing.T, name string) {
	t.Helper()
	ca := playground.NewCA(name)
	i.create(t, playground.NewSecret(namespace, name, ca))
	crd := playground.NewCRD(name, playground.FromSecret(namespace, name))
	i.create(t, crd)
	if err := holds(crd, ca); err != nil {
		t.Error("in the answer to the create:", err)
	}
}

func TestReplicasThatStartTogetherAgreeOnOneCA(t *testing.T) {
	t.Parallel()
	i := own(t)
	const replicas = 3
	var processes []*playground.Process
	var ports []int
	for n := range replicas {
		ports = append(ports, i.WebhookPort)
		if n > 0 {
			health := freePort(t)
			ports[n] = freePort(t)
			replica := *i
			installation := *i.Installation
			replica.Installation, installation.HealthPort = &installation, health
			processes = append(processes, replica.run(t, fmt.Sprintf("caject-%d.log", n),
				fmt.Sprintf("--webhook-listen-address=:%d", ports[n]),
				fmt.Sprintf("--health-listen-address=:%d", health), "--metrics-listen-address=0"))
			continue
		}
		processes = append(processes, i.run(t, "caject-0.log"))
	}
	for _, process := range processes {
		if err := process.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	secret := i.caSecret(t)
	configuration := playground.NewMutating("caject", 0, nil)
	i.filled(t, configuration, secret.Data["ca.crt"])
	for n, port := range ports {
		if _, err := served(port, secret.Data["tls.crt"]); err != nil {
			t.Errorf("replica %d: %v", n, err)
		}
	}
	i.works(t, "replicas")
}

func freePort(t *testing.T) int {
	t.Helper()
	var port int
	if err := playground.FreePorts(&port); err != nil {
		t.Fatal(err)
	}
	return port
}

func TestTheAPIServerIsAway(t *testing.T) {
	t.Parallel()
	i := own(t, "resyncInterval=1s")

	// At start.
	if err := i.control.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	process := i.run(t, "caject.log")
	eventually(t, "live", func(ctx context.Context) error {
		if !process.Probe(ctx, "/livez") {
			return errors.New("it is not")
		}
		return nil
	})
	time.Sleep(3 * time.Second)
	if process.Ready(t.Context()) {
		t.Error("it is ready without having seen the API server")
	}
	if n := process.Logged("API server unreachable"); n != 1 {
		t.Errorf("it says %d times that the API server is away:\n%s", n, process.ReadLog())
	}
	if err := i.control.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca := playground.NewCA("before")
	i.create(t, playground.NewSecret(namespace, "before", ca))
	before := playground.NewValidating("before", 1, playground.FromSecret(namespace, "before"))
	i.create(t, before)
	i.filled(t, before, ca)

	// And later.
	if err := i.control.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	if !process.Ready(t.Context()) || !process.Probe(t.Context(), "/livez") {
		t.Error("what was seen last does not count while the API server is away")
	}
	if n := process.Logged("level=ERROR"); n > 2 {
		t.Errorf("%d errors are logged; each state should be logged once:\n%s", n, process.ReadLog())
	}
	if err := i.control.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	next := playground.NewCA("after")
	eventually(t, "rotate", func(ctx context.Context) error {
		return i.client.Update(ctx, playground.NewSecret(namespace, "before", next))
	})
	i.filled(t, before, ca, next)
	i.works(t, "after")
	if n := process.Logged("API server answers again"); n != 2 {
		t.Errorf("it says %d times that the API server is back", n)
	}
}

func TestTheCASecretIsPutRight(t *testing.T) {
	t.Parallel()
	i := own(t)
	process := i.run(t, "caject.log", "--resync-interval=1s")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := i.caSecret(t)

	t.Run("deleted: the CA in memory is restored", func(t *testing.T) {
		if err := i.client.Delete(t.Context(), first.DeepCopy()); err != nil {
			t.Fatal(err)
		}
		// A restart of a replica, or the next look, brings it back; here the change of our configuration does.
		touch(t, i)
		eventually(t, "restore", func(ctx context.Context) error {
			secret := &corev1.Secret{}
			if err := i.client.Get(ctx, client.ObjectKeyFromObject(first), secret); err != nil {
				return err
			}
			if string(secret.Data["tls.crt"]) != string(first.Data["tls.crt"]) {
				return errors.New("it holds another CA, or none")
			}
			return nil
		})
	})
	t.Run("damaged: replaced, and trusted before it is used", func(t *testing.T) {
		secret := i.caSecret(t)
		secret.Data["tls.key"] = []byte("damaged")
		if err := i.client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		touch(t, i)
		eventually(t, "replace", func(ctx context.Context) error {
			secret := &corev1.Secret{}
			if err := i.client.Get(ctx, client.ObjectKeyFromObject(first), secret); err != nil {
				return err
			}
			if string(secret.Data["tls.crt"]) == string(first.Data["tls.crt"]) {
				return errors.New("not yet")
			}
			_, err := served(i.WebhookPort, secret.Data["tls.crt"])
			return err
		})
		if err := process.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	i.works(t, "secret")
}

// touch changes caject's own configuration a little, and so wakes it.
func touch(t *testing.T, i *installation) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
		if err := i.client.Get(t.Context(), client.ObjectKey{Name: "caject"}, configuration); err != nil {
			return err
		}
		seconds := int32(2)
		if configuration.Webhooks[0].TimeoutSeconds != nil && *configuration.Webhooks[0].TimeoutSeconds == seconds {
			seconds = 3
		}
		configuration.Webhooks[0].TimeoutSeconds = &seconds
		return i.client.Update(t.Context(), configuration)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnUpgradeThatWipesOurOwnConfiguration is helm upgrade --force, or kubectl replace of the chart's manifests.
func TestAnUpgradeThatWipesOurOwnConfiguration(t *testing.T) {
	t.Parallel()
	i := own(t)
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	secret := i.caSecret(t)
	rendered, err := i.control.Helm(t.Context(), "get", "manifest", "caject", "--namespace", playground.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.control.Kubectl(t.Context(), rendered.Stdout, "replace", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	configuration := playground.NewMutating("caject", 0, nil)
	i.filled(t, configuration, secret.Data["ca.crt"])
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := i.control.Helm(t.Context(), "upgrade", "caject", filepath.Join(projectRoot(t), "charts", "caject"), "--namespace", playground.Namespace, "--reuse-values"); err != nil {
		t.Fatal(err)
	}
	i.filled(t, configuration, i.caSecret(t).Data["ca.crt"])
	i.works(t, "upgrade")
}

func projectRoot(t *testing.T) string {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestAURLInsteadOfTheService is for API servers that do not reach the cluster network.
func TestAURLInsteadOfTheService(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	i := own(t, fmt.Sprintf("webhook.url=https://127.0.0.1:%d", port), fmt.Sprintf("webhook.port=%d", port))
	process := i.run(t, "caject.log")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.works(t, "url")
}

// TestRenewal runs caject with certificates that last seconds. The API server calls it all the while.
func TestRenewal(t *testing.T) {
	t.Parallel()
	i := own(t)
	process := i.run(t, "caject.log", "--ca-lifetime=15s", "--leaf-lifetime=6s", "--resync-interval=1s")
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca := playground.NewCA("renewal")
	i.create(t, playground.NewSecret(namespace, "renewal", ca))
	cas, leaves := map[string]bool{}, map[string]bool{}
	for n := 0; len(cas) < 3 || len(leaves) < 5; n++ {
		if n > 200 {
			t.Fatalf("after %d objects it has had %d CAs and %d leaves", n, len(cas), len(leaves))
		}
		crd := playground.NewCRD(fmt.Sprintf("renewal%03d", n), playground.FromSecret(namespace, "renewal"))
		i.create(t, crd)
		i.filled(t, crd, ca)
		secret := i.caSecret(t)
		leaf, err := served(i.WebhookPort, secret.Data["ca.crt"])
		if err != nil {
			t.Fatal(err)
		}
		cas[string(secret.Data["tls.crt"])], leaves[leaf.SerialNumber.String()] = true, true
		time.Sleep(200 * time.Millisecond)
	}
	if err := process.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.works(t, "renewed")
	if trusted := len(i.caSecret(t).Data["ca.crt"]); trusted > 64<<10 {
		t.Errorf("the bundle of caject's own CA has grown to %d bytes", trusted)
	}
}
