package oracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	cajectcluster "github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/test/playground"
)

// world is an API server, and how to start an injector on it.
type world struct {
	control *playground.ControlPlane
	client  client.WithWatch // the admin's
	start   func(args ...string) (*playground.Process, error)
}

// newWorld starts an API server that knows Certificates.
func newWorld(ctx context.Context, dir string) (*world, error) {
	root, err := playground.Root()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	control, err := playground.StartControlPlane(root, dir)
	if err != nil {
		return nil, err
	}
	w := &world{control: control}
	config := rest.CopyConfig(control.Config)
	config.WarningHandler = rest.NoWarnings{}
	if w.client, err = playground.NewClient(config); err != nil {
		return w, err
	}
	for _, name := range []string{namespace, "elsewhere", "cert-manager"} {
		if err := w.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return w, err
		}
	}
	_, err = w.apply(ctx, []string{"crd-cert-manager.io_certificates"})
	return w, err
}

// apply applies templates of cert-manager's chart, and returns their manifests.
func (w *world) apply(ctx context.Context, templates []string, values ...string) (string, error) {
	rendered, err := w.control.RenderCertManager(ctx, templates, values...)
	if err != nil {
		return "", err
	}
	_, err = w.control.Kubectl(ctx, rendered, "apply", "--server-side", "-f", "-")
	return rendered, err
}

// deployCainjector applies what cert-manager's chart has for its cainjector. It returns how to start program as the
// chart's Deployment says, with its arguments and ServiceAccount.
func (w *world) deployCainjector(ctx context.Context, program string, values ...string) (func(args ...string) (*playground.Process, error), error) {
	_, err := w.apply(ctx, []string{"cainjector-serviceaccount", "cainjector-rbac", "cainjector-deployment"},
		append([]string{"prometheus.enabled=false"}, values...)...)
	if err != nil {
		return nil, err
	}
	return w.readCainjector(ctx, program)
}

// readCainjector returns how to start program as the installed Deployment of cainjector says.
func (w *world) readCainjector(ctx context.Context, program string) (func(args ...string) (*playground.Process, error), error) {
	pod, err := w.control.Pod(ctx, "cert-manager", "cert-manager-cainjector")
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(w.control.Dir, "cainjector.kubeconfig")
	if err := w.control.WriteKubeconfig(ctx, "cert-manager", pod.ServiceAccountName, kubeconfig); err != nil {
		return nil, err
	}
	command := append([]string{program}, pod.Containers[0].Args...)
	command = append(command, "--kubeconfig="+kubeconfig)
	n := 0
	return func(args ...string) (*playground.Process, error) {
		n++
		log := filepath.Join(w.control.Dir, fmt.Sprintf("%s-%d.log", filepath.Base(program), n))
		return playground.StartProcess(slices.Concat(command, args), 0, log)
	}, nil
}

// deployCaject installs caject's chart. It returns how to start program as it says.
func (w *world) deployCaject(ctx context.Context, program string) (func(args ...string) (*playground.Process, error), error) {
	installation, err := playground.Install(ctx, w.control, "resyncInterval=1s")
	if err != nil {
		return nil, err
	}
	n := 0
	return func(args ...string) (*playground.Process, error) {
		n++
		process, err := installation.Start(program, filepath.Join(w.control.Dir, fmt.Sprintf("caject-%d.log", n)), args...)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := process.WaitReady(ctx); err != nil {
			return nil, errors.Join(err, process.Stop())
		}
		return process, nil
	}, nil
}

// outcome is what became of a scenario's target.
type outcome struct {
	refused string   // why the API server did not take the manifest
	bundles [][]byte // what the caBundles hold in the end
}

// play runs an injector, lets all scenarios happen, and returns what became of their targets.
func (w *world) play(ctx context.Context, args []string, scenarios []scenario, first int, sentinelNamespace string) (_ []outcome, err error) {
	process, err := w.start(args...)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, process.Stop())
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, tail(process.ReadLog()))
		}
	}()
	outcomes := make([]outcome, len(scenarios))
	stages := make([]*stage, len(scenarios))
	err = parallel(len(scenarios), func(i int) error {
		s := &stage{Context: ctx, world: w, id: id(first + i)}
		stages[i] = s
		for _, object := range scenarios[i].newSources(s.id) {
			if err := w.client.Create(ctx, object); err != nil {
				return fmt.Errorf("%s: %w", scenarios[i].name, err)
			}
		}
		s.target = scenarios[i].newTarget(s)
		err := w.client.Create(ctx, s.target)
		if apierrors.IsInvalid(err) {
			outcomes[i].refused = err.Error()
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sentinel := newSentinel(sentinelNamespace, id(first))
	if err := sentinel.settle(ctx, w); err != nil {
		return nil, err
	}
	err = parallel(len(scenarios), func(i int) error {
		if outcomes[i].refused != "" {
			return nil
		}
		if err := scenarios[i].later(stages[i]); err != nil {
			return fmt.Errorf("%s: %w", scenarios[i].name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := sentinel.settle(ctx, w); err != nil {
		return nil, err
	}
	err = parallel(len(scenarios), func(i int) error {
		if outcomes[i].refused != "" {
			return nil
		}
		target := stages[i].target
		if err := w.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
			return err
		}
		for _, bundle := range playground.CABundles(target) {
			outcomes[i].bundles = append(outcomes[i].bundles, w.normalize(bundle))
		}
		return w.client.Delete(ctx, target)
	})
	return outcomes, err
}

// normalize puts the certificate that the word S stands for where the API server's CA is: each has another one.
func (w *world) normalize(bundle []byte) []byte {
	return bytes.ReplaceAll(bundle, bytes.TrimSpace(w.control.Config.CAData), bytes.TrimSpace(certificates["S"]))
}

// denormalize is the reverse, for what is written.
func (w *world) denormalize(bundle []byte) []byte {
	return bytes.ReplaceAll(bundle, bytes.TrimSpace(certificates["S"]), bytes.TrimSpace(w.control.Config.CAData))
}

// parallel calls f for 0 to n-1, some at a time.
func parallel(n int, f func(int) error) error {
	var group errgroup.Group
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error { return f(i) })
	}
	return group.Wait()
}

// tail returns the end of a log.
func tail(log string) string {
	lines := strings.Split(log, "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// sentinel is a source with a target of each kind. An injector that has brought its newest CA there has seen all that
// happened before.
type sentinel struct {
	secret  *corev1.Secret
	targets []client.Object
}

func newSentinel(in, id string) *sentinel {
	annotations := playground.FromSecret(in, "sentinel"+id)
	return &sentinel{
		secret: playground.NewSecret(in, "sentinel"+id, nil),
		targets: []client.Object{
			playground.NewCRD("sentinel"+id, annotations), playground.NewAPIService("sentinel"+id+"api", annotations),
			playground.NewValidating("sentinel"+id, 1, annotations), playground.NewMutating("sentinel"+id, 1, annotations),
		},
	}
}

// settle waits until the injector has seen all that happened, and nothing changes any more.
func (s *sentinel) settle(ctx context.Context, w *world) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	ca := playground.NewCA("sentinel")
	s.secret.Data = map[string][]byte{"ca.crt": ca}
	if s.secret.ResourceVersion == "" {
		if err := w.client.Create(ctx, s.secret); err != nil {
			return err
		}
		for _, target := range s.targets {
			if err := w.client.Create(ctx, target); err != nil {
				return err
			}
		}
	} else if err := w.client.Update(ctx, s.secret); err != nil {
		return err
	}
	for _, target := range s.targets {
		for !bytes.Contains(playground.CABundles(target)[0], ca) {
			if err := playground.Sleep(ctx, 50*time.Millisecond); err != nil {
				return fmt.Errorf("the sentinel %T was not filled: %w", target, err)
			}
			if err := w.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
				return err
			}
		}
	}
	return w.quiet(ctx, 3*time.Second)
}

// quiet returns once no target has changed for a while.
func (w *world) quiet(ctx context.Context, while time.Duration) error {
	var before map[string]string
	for since := time.Now(); time.Since(since) < while; {
		now, err := w.versions(ctx)
		if err != nil {
			return err
		}
		if !maps.Equal(before, now) {
			before, since = now, time.Now()
		}
		if err := playground.Sleep(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("targets go on to change: %w", err)
		}
	}
	return nil
}

// versions returns the resourceVersion of each object of the target kinds.
func (w *world) versions(ctx context.Context) (map[string]string, error) {
	versions := map[string]string{}
	for _, kind := range cabundle.Kinds() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersionKind())
		if err := w.client.List(ctx, list); err != nil {
			return nil, err
		}
		for _, item := range list.Items {
			versions[string(kind)+" "+item.Name] = item.ResourceVersion
		}
	}
	return versions, nil
}

// Create creates an object.
func (s *stage) Create(object client.Object) error { return s.client.Create(s, object) }

func (s *stage) setCA(name string, ca content) error {
	return s.changeSecret(name, func(secret *corev1.Secret) { secret.Data["ca.crt"] = ca.bytes() })
}

func (s *stage) changeSecret(name string, change func(*corev1.Secret)) error {
	secret := &corev1.Secret{}
	if err := s.client.Get(s, client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
		return err
	}
	change(secret)
	return s.client.Update(s, secret)
}

func (s *stage) deleteSecret() error {
	return s.client.Delete(s, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.id}})
}

// renameSecret has the Certificate name another Secret.
func (s *stage) renameSecret(name string) error {
	certificate := &unstructured.Unstructured{}
	certificate.SetGroupVersionKind(cajectcluster.CertificateKind)
	if err := s.client.Get(s, client.ObjectKey{Namespace: namespace, Name: s.id}, certificate); err != nil {
		return err
	}
	if err := unstructured.SetNestedField(certificate.Object, name, "spec", "secretName"); err != nil {
		return err
	}
	return s.client.Update(s, certificate)
}

// annotate sets an annotation of the target, or removes it if value is empty.
func (s *stage) annotate(key, value string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
	if value == "" {
		patch = fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, key)
	}
	return s.client.Patch(s, s.target, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// annotationOf returns the annotation that the target has.
func (s *stage) annotationOf() string {
	for key := range s.target.GetAnnotations() {
		if cabundle.AsksForInjection(key) {
			return key
		}
	}
	return ""
}

// setBundles writes value into each caBundle of the target.
func (s *stage) setBundles(value content) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := s.client.Get(s, client.ObjectKeyFromObject(s.target), s.target); err != nil {
			return err
		}
		playground.SetCABundles(s.target, s.denormalize(value.bytes()))
		return s.client.Update(s, s.target)
	})
}
