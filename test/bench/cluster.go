package bench

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

const (
	// namespace is where the Secrets are.
	namespace = "bench"
	// clients is how many requests are made side by side where many are made.
	clients = 8
	// secretBytes is what each of the other Secrets holds, of random data: about what a certificate and its key take.
	secretBytes = 2048
	// crdProperties and crdWords make a schema of about 100 KB in JSON.
	crdProperties, crdWords = 250, 48
)

// cluster is an etcd and a kube-apiserver with one injector installed, or none.
type cluster struct {
	*playground.ControlPlane
	client  client.WithWatch // the admin's
	lookout *lookout
	dir     string
	pid     int // kube-apiserver's
	names   int
	others  int // Secrets that nobody names
	stop    context.CancelFunc
}

// newCluster starts one that is empty. close ends it.
func newCluster(ctx context.Context, root string) (c *cluster, err error) {
	c = &cluster{}
	if c.dir, err = os.MkdirTemp("", "caject-bench-"); err != nil {
		return nil, err
	}
	if c.ControlPlane, err = playground.StartControlPlane(root, c.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	ctx, c.stop = context.WithCancel(ctx)
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *cluster) begin(ctx context.Context) (err error) {
	config := rest.CopyConfig(c.Config)
	config.WarningHandler = rest.NoWarnings{}
	if c.client, err = playground.NewClient(config); err != nil {
		return err
	}
	if c.pid, err = c.APIServerPid(); err != nil {
		return err
	}
	if c.lookout, err = newLookout(ctx, c.client); err != nil {
		return err
	}
	return c.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func (c *cluster) close() error {
	c.stop()
	return errors.Join(c.Stop(), os.RemoveAll(c.dir))
}

// version returns Kubernetes'.
func (c *cluster) version() (string, error) {
	discovered, err := discovery.NewDiscoveryClientForConfig(c.Config)
	if err != nil {
		return "", err
	}
	version, err := discovered.ServerVersion()
	if err != nil {
		return "", err
	}
	return version.GitVersion, nil
}

// name returns a name that was not used before.
func (c *cluster) name(prefix string) string {
	c.names++
	return fmt.Sprintf("%s%06d", prefix, c.names)
}

// path returns that of a file of the cluster.
func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

// cpu returns what kube-apiserver has computed for so far.
func (c *cluster) cpu() (time.Duration, error) { return playground.CPU(c.pid) }

// settle returns once the API server has little to do, at the latest after most: it works on CRDs and APIServices for a while
// after they were written.
func (c *cluster) settle(ctx context.Context, most time.Duration) error {
	const span, little = 500 * time.Millisecond, 30 * time.Millisecond
	for end := time.Now().Add(most); time.Now().Before(end); {
		before, err := c.cpu()
		if err != nil {
			return err
		}
		if err := playground.Sleep(ctx, span); err != nil {
			return err
		}
		after, err := c.cpu()
		if err != nil || after-before <= little {
			return err
		}
	}
	return nil
}

// each calls do with 0 to n-1, side by side, and returns the first error.
func each(ctx context.Context, n, clients int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(clients)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// addOthers makes Secrets that nobody names, until there are n.
func (c *cluster) addOthers(ctx context.Context, n int) error {
	from := c.others
	c.others = max(c.others, n)
	return each(ctx, c.others-from, 2*clients, func(ctx context.Context, i int) error {
		return c.client.Create(ctx, other(from+i))
	})
}

// other is one of the Secrets that nobody names, with data of its own each time.
func other(i int) *corev1.Secret {
	data := make([]byte, secretBytes)
	_, _ = crand.Read(data) // it never fails
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("other%06d", i)},
		Data:       map[string][]byte{"data": data},
	}
}

// addCRDs makes n large CRDs without annotation.
func (c *cluster) addCRDs(ctx context.Context, n int) error {
	return each(ctx, n, clients, func(ctx context.Context, i int) error {
		crd := largeCRD(fmt.Sprintf("large%04d", i), nil)
		crd.Spec.Conversion = nil
		return c.client.Create(ctx, crd)
	})
}

// largeCRD is one with a conversion webhook and a schema of 100 KB, many properties that are explained each.
func largeCRD(name string, annotations map[string]string) *apiextensionsv1.CustomResourceDefinition {
	words := strings.Fields("selects the number of replicas that a rollout may take away at once from each zone when unset defaults to one quarter")
	random := rand.New(rand.NewPCG(1, 2))
	properties := map[string]apiextensionsv1.JSONSchemaProps{}
	for i := range crdProperties {
		var text strings.Builder
		for range crdWords {
			text.WriteString(words[random.IntN(len(words))] + " ")
		}
		text.WriteString(fmt.Sprint(random.Uint64()))
		properties[fmt.Sprintf("property%03d", i)] = apiextensionsv1.JSONSchemaProps{Type: "string", Description: text.String()}
	}
	crd := playground.NewCRD(name, annotations)
	crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties = map[string]apiextensionsv1.JSONSchemaProps{
		"spec": {Type: "object", Properties: properties},
	}
	return crd
}

// addSource makes a Secret that allows injection, and returns its CA.
func (c *cluster) addSource(ctx context.Context, name string) ([]byte, error) {
	ca := playground.NewCA(name)
	return ca, c.client.Create(ctx, playground.NewSecret(namespace, name, ca))
}

// rotate gives a source another CA.
func (c *cluster) rotate(ctx context.Context, name string, ca []byte) error {
	return c.client.Update(ctx, playground.NewSecret(namespace, name, ca))
}

// remove deletes objects, side by side.
func (c *cluster) remove(ctx context.Context, objects ...client.Object) error {
	return each(ctx, len(objects), clients, func(ctx context.Context, i int) error {
		return client.IgnoreNotFound(c.client.Delete(ctx, objects[i]))
	})
}
