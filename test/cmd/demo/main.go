// Command demo shows caject at work on a real API server, as a timeline with measured times: make demo.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/node"
	"github.com/caject/caject/test/playground"
)

const (
	namespace = "demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	root, err := playground.Root()
	if err != nil {
		return err
	}
	if onNode(root) {
		if err := node.Enter(); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "caject-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	d := &demo{start: time.Now()}
	fmt.Println("\n      at        took")
	defer func() {
		if err == nil {
			fmt.Println("\nNothing is left running. `make up` keeps such a playground for you to try things on.")
		}
	}()
	start := d.startProcess
	if onNode(root) {
		start = d.startPods
	}
	stop, err := start(ctx, root, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, step := range []func(context.Context) error{d.prepare, d.fill, d.rotate, d.freeze, d.refuse, d.show, d.rights} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%w\n\ncaject's log:\n%s", err, d.caject.ReadLog())
		}
	}
	memory, err := d.caject.Memory()
	if err != nil {
		return err
	}
	d.note(fmt.Sprintf("caject holds %.1f MB of its own (RssAnon); %.1f MB are resident in all, pages of its binary included",
		float64(memory.Anonymous)/1e6, float64(memory.Resident)/1e6))
	return nil
}

// demo prints a timeline.
type demo struct {
	start, last time.Time
	control     *playground.ControlPlane
	caject      running
	client      client.WithWatch
	targets     []client.Object
	ca          []byte
}

// line prints what has just been done, and how long it took since the last line.
func (d *demo) line(text string) {
	if d.last.IsZero() {
		d.last = d.start
	}
	d.lineTook(text, time.Since(d.last))
}

func (d *demo) lineTook(text string, took time.Duration) {
	d.last = time.Now()
	fmt.Printf("%8d ms %8.1f ms  %s\n", d.last.Sub(d.start).Milliseconds(), float64(took.Microseconds())/1000, text)
}

// note prints something that took no time.
func (d *demo) note(text string) { fmt.Printf("%26s%s\n", "", text) }

func (d *demo) chapter(text string) {
	fmt.Printf("\n%s\n", text)
	d.last = time.Now()
}

// prepare makes the Secret that everything refers to.
func (d *demo) prepare(ctx context.Context) error {
	d.chapter("A Secret with a CA, and an annotation that allows to inject it:")
	if err := d.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	d.ca = playground.NewCA("demo CA 1")
	if err := d.client.Create(ctx, playground.NewSecret(namespace, "webhook-ca", d.ca)); err != nil {
		return err
	}
	d.line("created Secret demo/webhook-ca")
	return nil
}

// fill creates one object of each kind.
func (d *demo) fill(ctx context.Context) error {
	annotations := playground.FromSecret(namespace, "webhook-ca")
	d.chapter("Objects created with the annotation cert-manager.io/inject-ca-from-secret: demo/webhook-ca, and no caBundle:")
	d.targets = []client.Object{playground.NewCRD("widgets", annotations), playground.NewAPIService("gadgets", annotations)}
	for _, target := range d.targets {
		if err := d.client.Create(ctx, target); err != nil {
			return err
		}
		if !filled(target, d.ca) {
			return fmt.Errorf("the API server's answer for %s has no caBundle", target.GetName())
		}
		d.line(name(target) + ": the caBundle is in the API server's answer")
	}
	for _, target := range []client.Object{
		playground.NewValidating("widgets", 2, annotations), playground.NewMutating("widgets", 2, annotations),
	} {
		if err := d.client.Create(ctx, target); err != nil {
			return err
		}
		created := time.Now()
		d.line(name(target) + ": created")
		if err := d.await(ctx, target, d.ca); err != nil {
			return err
		}
		d.lineTook("  both its webhooks are filled (the time is since it was created)", time.Since(created))
		d.targets = append(d.targets, target)
	}
	return d.published(ctx)
}

// rotate changes the CA.
func (d *demo) rotate(ctx context.Context) error {
	d.chapter("The CA is rotated, and the API server tells caject:")
	next := playground.NewCA("demo CA 2")
	if err := d.client.Update(ctx, playground.NewSecret(namespace, "webhook-ca", next)); err != nil {
		return err
	}
	rotated := time.Now()
	d.line("updated Secret demo/webhook-ca")
	both := append(bytes.Clone(d.ca), next...)
	for _, target := range d.targets {
		if err := d.await(ctx, target, both); err != nil {
			return err
		}
	}
	d.lineTook("all four objects hold the old CA and the new one (the time is since then)", time.Since(rotated))
	d.ca = both
	return nil
}

// published waits until the API server, if it evaluates policies, fills from the bundle that caject has published.
func (d *demo) published(ctx context.Context) error {
	if policies, err := playground.ServesPolicies(d.control.Config); err != nil || !policies {
		return err
	}
	for {
		probe := playground.NewValidating("probe", 1, playground.FromSecret(namespace, "webhook-ca"))
		if err := d.client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if filled(probe, d.ca) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the policy fills nothing: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// show prints what caject publishes.
func (d *demo) show(ctx context.Context) error {
	d.chapter("kubectl get cabundles:")
	for _, condition := range []string{"create", "condition=Ready=false"} {
		if _, err := d.control.Kubectl(ctx, "", "wait", "--for="+condition, "--timeout=30s", "cabundle/secret.demo.private"); err != nil {
			return err
		}
	}
	output, err := d.control.Kubectl(ctx, "", "get", "cabundles")
	for line := range strings.Lines(output.Stdout) {
		d.note(strings.TrimRight(line, "\n"))
	}
	return err
}

// refuse names a Secret that does not allow it.
func (d *demo) refuse(ctx context.Context) error {
	d.chapter("A Secret that does not allow it:")
	secret := playground.NewSecret(namespace, "private", playground.NewCA("private CA"))
	secret.Annotations = nil
	if err := d.client.Create(ctx, secret); err != nil {
		return err
	}
	manifest := playground.NewCRD("gizmos", playground.FromSecret(namespace, "private"))
	manifest.SetGroupVersionKind(cabundle.CustomResourceDefinition.GroupVersionKind())
	text, err := yaml.Marshal(manifest)
	if err != nil {
		return err
	}
	d.last = time.Now()
	output, err := d.control.Kubectl(ctx, string(text), "apply", "-f", "-")
	if err != nil {
		return err
	}
	d.line("kubectl apply -f gizmos.yaml: " + strings.TrimSpace(output.Stdout))
	if !strings.Contains(output.Stderr, "does not allow") {
		return errors.New("kubectl printed no warning: " + output.Stderr)
	}
	for line := range strings.Lines(output.Stderr) {
		d.note(strings.TrimSpace(line))
	}
	return nil
}

// rights shows what caject may do.
func (d *demo) rights(ctx context.Context) error {
	d.chapter("What caject may do with Secrets:")
	for _, verb := range []string{"get", "list", "watch"} {
		args := []string{"auth", "can-i", verb, "secrets", "--all-namespaces", "--as", "system:serviceaccount:" + playground.Namespace + ":caject"}
		output, err := d.control.Kubectl(ctx, "", args...)
		answer := strings.TrimSpace(output.Stdout)
		if answer != "yes" && answer != "no" {
			return err
		}
		d.note(fmt.Sprintf("kubectl %s: %s", strings.Join(args, " "), answer))
		if want := map[bool]string{true: "yes", false: "no"}[verb == "get"]; answer != want {
			return fmt.Errorf("can-i %s secrets is %s, not %s", verb, answer, want)
		}
	}
	return nil
}

// await reads target until all its caBundles are want.
func (d *demo) await(ctx context.Context, target client.Object, want []byte) error {
	if err := d.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
		return err
	}
	for !filled(target, want) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was not filled: %w", name(target), ctx.Err())
		case <-time.After(time.Millisecond):
		}
		if err := d.client.Get(ctx, client.ObjectKeyFromObject(target), target); err != nil {
			return err
		}
	}
	return nil
}

func filled(target client.Object, want []byte) bool {
	bundles := playground.CABundles(target)
	for _, bundle := range bundles {
		if !bytes.Equal(bundle, want) {
			return false
		}
	}
	return len(bundles) > 0
}

func name(target client.Object) string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", target), "*v1.")
	return kind + " " + target.GetName()
}
