// Command bench measures caject on a real API server and prints a table: make bench.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

const namespace = "bench"

func main() {
	secrets := flag.Int("secrets", 20_000, "Secrets in the cluster, besides those that are needed, for the second round")
	starts := flag.Int("starts", 9, "how often caject is started in each round")
	objects := flag.Int("objects", 300, "how many objects of a kind are created")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	if err := run(ctx, *secrets, *starts, *objects); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, secrets, starts, objects int) (err error) {
	root, err := playground.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "caject-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	control, err := playground.StartControlPlane(root, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, control.Stop()) }()
	installation, err := playground.Install(ctx, control)
	if err != nil {
		return err
	}
	c, err := playground.NewClient(control.Config)
	if err != nil {
		return err
	}
	b := &bench{
		client: c,
		table:  tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight),
		start: func() (*playground.Process, error) {
			return installation.Start(filepath.Join(root, "bin", "caject"), filepath.Join(dir, "caject.log"))
		},
		ca: playground.NewCA("bench"),
	}
	if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	if err := c.Create(ctx, playground.NewSecret(namespace, "ca", b.ca)); err != nil {
		return err
	}
	fmt.Fprintln(b.table, "\tn\tmedian\tp99\tmost\t")

	if err := b.starts(ctx, "no other Secrets", starts); err != nil {
		return err
	}
	process, err := b.start()
	if err != nil {
		return err
	}
	if err := process.WaitReady(ctx); err != nil {
		return err
	}
	if err := errors.Join(b.creates(ctx, objects), b.rotations(ctx, rotations, "caject"), b.fills(ctx, objects, "caject"), process.Stop()); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "creating %d Secrets of 2 KB\n", secrets)
	if err := b.fillCluster(ctx, secrets); err != nil {
		return err
	}
	if err := b.starts(ctx, fmt.Sprintf("%d other Secrets", secrets), starts); err != nil {
		return err
	}
	if err := b.peer(ctx, root, objects); err != nil {
		return err
	}
	return b.table.Flush()
}

// peer does what cert-manager's cainjector does as well with that one, on an API server of its own.
func (b *bench) peer(ctx context.Context, root string, objects int) (err error) {
	dir, err := os.MkdirTemp("", "caject-bench-peer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	control, err := playground.StartControlPlane(root, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, control.Stop()) }()
	c, err := playground.NewClient(control.Config)
	if err != nil {
		return err
	}
	for _, name := range []string{namespace, "cert-manager"} {
		if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	rendered, err := control.RenderCertManager(ctx, []string{"crd-cert-manager.io_certificates", "cainjector-serviceaccount", "cainjector-rbac"})
	if err != nil {
		return err
	}
	if _, err := control.Kubectl(ctx, rendered, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	kubeconfig := filepath.Join(dir, "cainjector.kubeconfig")
	if err := control.WriteKubeconfig(ctx, "cert-manager", "cert-manager-cainjector", kubeconfig); err != nil {
		return err
	}
	peer := &bench{client: c, table: b.table, ca: b.ca}
	if err := c.Create(ctx, playground.NewSecret(namespace, "ca", b.ca)); err != nil {
		return err
	}
	process, err := playground.StartProcess([]string{filepath.Join(root, "bin", "cainjector"), "--kubeconfig=" + kubeconfig}, 0, filepath.Join(dir, "cainjector.log"))
	if err != nil {
		return err
	}
	first := playground.NewValidating("first", 1, playground.FromSecret(namespace, "ca"))
	if err := c.Create(ctx, first); err != nil {
		return err
	}
	return errors.Join(peer.awaitFilled(ctx, first, b.ca), peer.rotations(ctx, rotations, "cainjector"), peer.fills(ctx, objects, "cainjector"), process.Stop())
}

type bench struct {
	client client.WithWatch
	table  *tabwriter.Writer
	start  func() (*playground.Process, error)
	ca     []byte
	names  int
}

// name returns a name that was not used before.
func (b *bench) name(prefix string) string {
	b.names++
	return fmt.Sprintf("%s%06d", prefix, b.names)
}

// starts starts caject n times, each time with one webhook configuration that waits to be filled.
func (b *bench) starts(ctx context.Context, sentence string, n int) error {
	var ready, first []time.Duration
	var anonymous, resident []int64
	for range n {
		name := b.name("start") // of a source that is not published, or the policy would fill it
		if err := b.client.Create(ctx, playground.NewSecret(namespace, name, b.ca)); err != nil {
			return err
		}
		target := playground.NewValidating(name, 1, playground.FromSecret(namespace, name))
		if err := b.client.Create(ctx, target); err != nil {
			return err
		}
		began := time.Now()
		process, err := b.start()
		if err != nil {
			return err
		}
		filled := make(chan error, 1)
		go func() { filled <- b.awaitFilled(ctx, target, b.ca) }()
		if err := process.WaitReady(ctx); err != nil {
			return err
		}
		ready = append(ready, time.Since(began))
		if err := <-filled; err != nil {
			return errors.Join(err, process.Stop())
		}
		first = append(first, time.Since(began))
		time.Sleep(2 * time.Second)
		memory, err := process.Memory()
		if err != nil {
			return err
		}
		anonymous, resident = append(anonymous, memory.Anonymous), append(resident, memory.Resident)
		if err := process.Stop(); err != nil {
			return err
		}
	}
	row(b.table, "start to ready, "+sentence, ready, milliseconds)
	row(b.table, "start to first injection, "+sentence, first, milliseconds)
	row(b.table, "RssAnon 2 s later, "+sentence, anonymous, megabytes)
	row(b.table, "resident in all 2 s later, "+sentence, resident, megabytes)
	return nil
}

// fillCluster makes n Secrets that nobody refers to.
func (b *bench) fillCluster(ctx context.Context, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	value := bytes.Repeat([]byte("x"), 2048)
	for i := range n {
		group.Go(func() error {
			return b.client.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("other%06d", i)},
				Data:       map[string][]byte{"data": value},
			})
		})
	}
	return group.Wait()
}

// creates measures how long creates take, and how long after it a webhook configuration is filled.
func (b *bench) creates(ctx context.Context, n int) error {
	annotated := playground.FromSecret(namespace, "ca")
	kinds := []struct {
		sentence string
		make     func(map[string]string) client.Object
	}{
		{"CRD", func(a map[string]string) client.Object { return playground.NewCRD(b.name("crd"), a) }},
		{"APIService", func(a map[string]string) client.Object { return playground.NewAPIService(b.name("apiservice"), a) }},
	}
	for _, kind := range kinds {
		var plain, filled []time.Duration
		for range n / 10 { // the API server builds an API for each CRD
			for annotations, took := range map[*map[string]string]*[]time.Duration{new(map[string]string): &plain, &annotated: &filled} {
				object := kind.make(*annotations)
				began := time.Now()
				if err := b.client.Create(ctx, object); err != nil {
					return err
				}
				*took = append(*took, time.Since(began))
				if err := b.client.Delete(ctx, object); err != nil {
					return err
				}
			}
		}
		row(b.table, "create: "+kind.sentence+" without annotation", plain, milliseconds)
		row(b.table, "create: "+kind.sentence+" with it, filled in the answer", filled, milliseconds)
	}
	return nil
}

// fills measures how long after its creation a webhook configuration is filled whose source nobody has named before.
func (b *bench) fills(ctx context.Context, n int, injector string) error {
	var took []time.Duration
	for range n {
		name := b.name("fill")
		if err := b.client.Create(ctx, playground.NewSecret(namespace, name, b.ca)); err != nil {
			return err
		}
		target := playground.NewValidating(name, 1, playground.FromSecret(namespace, name))
		if err := b.client.Create(ctx, target); err != nil {
			return err
		}
		created := time.Now()
		if err := b.awaitFilled(ctx, target, b.ca); err != nil {
			return err
		}
		took = append(took, time.Since(created))
		if err := b.client.Delete(ctx, target); err != nil {
			return err
		}
	}
	row(b.table, "webhook configuration, new source: created to filled, "+injector, took, milliseconds)
	return nil
}

// awaitFilled returns once the watch shows target with ca in its caBundle.
func (b *bench) awaitFilled(ctx context.Context, target client.Object, ca []byte) error {
	filled, err := b.watchFilled(ctx, []client.Object{target}, ca)
	if err != nil {
		return err
	}
	return <-filled
}

// watchFilled watches the kind of targets. What it returns says when all of them have ca in their caBundles.
func (b *bench) watchFilled(ctx context.Context, targets []client.Object, ca []byte) (<-chan error, error) {
	var list client.ObjectList = &admissionregistrationv1.ValidatingWebhookConfigurationList{}
	if _, ok := targets[0].(*apiextensionsv1.CustomResourceDefinition); ok {
		list = &apiextensionsv1.CustomResourceDefinitionList{}
	}
	left := map[string]bool{}
	for _, target := range targets {
		left[target.GetName()] = true
	}
	watch, err := b.client.Watch(ctx, list)
	if err != nil {
		return nil, err
	}
	filled := make(chan error, 1)
	go func() {
		defer watch.Stop()
		for event := range watch.ResultChan() {
			object, ok := event.Object.(client.Object)
			if ok && left[object.GetName()] && bytes.Contains(playground.CABundles(object)[0], ca) {
				delete(left, object.GetName())
			}
			if len(left) == 0 {
				filled <- nil
				return
			}
		}
		filled <- fmt.Errorf("%d were not filled: %w", len(left), ctx.Err())
	}()
	return filled, nil
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// row prints the distribution of values.
func row[T time.Duration | int64](w *tabwriter.Writer, sentence string, values []T, format func(T) string) {
	slices.Sort(values)
	at := func(q float64) string { return format(values[int(q*float64(len(values)-1)+0.5)]) }
	fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t\n", sentence, len(values), at(0.5), at(0.99), at(1))
}
