package trial

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
)

// Census sees each state of each target, by a watch of each kind, and notes whatever must never be: what is not made of whole
// certificates of the target's source, fields of one object that differ, and a certificate that a target held and has lost before it expired.
type Census struct {
	client client.WithWatch

	mu      sync.Mutex
	sources map[string]*ca     // by namespace/name
	targets map[string]*target // by type and name
	errs    []error
	states  int
	gaps    int
	longest time.Duration // of the gaps
}

// ca is what a source holds, and has held.
type ca struct {
	now   []byte // PEM
	known map[string]bool
}

// target is what one holds.
type target struct {
	uid    string
	source string
	held   map[string]bool
	gap    time.Time // since when it holds the Placeholder; zero if it does not
	filled time.Time // when it was first seen to hold what its source does now; zero if it does not
}

// NewCensus returns one that knows of no source yet. c is the admin's.
func NewCensus(c client.WithWatch) *Census {
	return &Census{client: c, sources: map[string]*ca{}, targets: map[string]*target{}}
}

// Expect says what a source is about to hold, as PEM. It is called before the source is written.
func (c *Census) Expect(source string, pem []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.sources[source]
	if known == nil {
		known = &ca{known: map[string]bool{}}
		c.sources[source] = known
	}
	known.now = pem
	known.known[string(pem)] = true
	for _, t := range c.targets {
		if t.source == source && !t.held[string(pem)] {
			t.filled = time.Time{}
		}
	}
}

// Run watches until ctx ends.
func (c *Census) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, list := range lists() {
		all.Go(func() { c.follow(ctx, list) })
	}
	all.Wait()
}

func lists() []client.ObjectList {
	return []client.ObjectList{
		&apiextensionsv1.CustomResourceDefinitionList{},
		&apiregistrationv1.APIServiceList{},
		&admissionregistrationv1.ValidatingWebhookConfigurationList{},
		&admissionregistrationv1.MutatingWebhookConfigurationList{},
	}
}

// follow lists and watches one kind until ctx ends. The API server may go away meanwhile; the next watch begins where the last
// one was, so that no state is missed.
func (c *Census) follow(ctx context.Context, list client.ObjectList) {
	version := ""
	for ; ctx.Err() == nil; pause(ctx) {
		if version == "" {
			if err := c.client.List(ctx, list); err != nil {
				continue
			}
			objects, err := meta.ExtractList(list)
			if err != nil {
				return // it is a list: see lists
			}
			c.lookAtAll(objects)
			version = list.GetResourceVersion()
		}
		watcher, err := c.client.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true}})
		if err != nil {
			continue
		}
		for event := range watcher.ResultChan() {
			if event.Type == watch.Error {
				version = "" // it has expired
				break
			}
			object := event.Object.(client.Object)
			version = object.GetResourceVersion()
			switch event.Type {
			case watch.Bookmark:
			case watch.Deleted:
				c.forget(object)
			default:
				c.look(object)
			}
		}
		watcher.Stop()
	}
}

// lookAtAll takes in all objects of one kind, and what is not among them any more.
func (c *Census) lookAtAll(objects []runtime.Object) {
	there := map[string]bool{}
	kind := ""
	for _, o := range objects {
		object := o.(client.Object)
		c.look(object)
		there[key(object)], kind = true, fmt.Sprintf("%T ", object)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.targets, func(name string, _ *target) bool {
		return kind != "" && strings.HasPrefix(name, kind) && !there[name]
	})
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

func key(object client.Object) string { return fmt.Sprintf("%T %s", object, object.GetName()) }

// note keeps the first errors; one is enough to fail.
func (c *Census) note(err error) {
	if len(c.errs) < 20 {
		c.errs = append(c.errs, err)
	}
}

func (c *Census) forget(object client.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.targets, key(object))
}

// look compares one state with all before it.
func (c *Census) look(object client.Object) {
	if object.GetDeletionTimestamp() != nil {
		c.forget(object) // a CRD takes a while to go
		return
	}
	name, ok := object.GetAnnotations()[cabundle.InjectCAFromSecretAnnotation]
	c.mu.Lock()
	defer c.mu.Unlock()
	source := c.sources[name]
	if !ok || source == nil {
		return
	}
	c.states++
	t := c.targets[key(object)]
	if t == nil || t.uid != string(object.GetUID()) {
		t = &target{uid: string(object.GetUID()), source: name}
		c.targets[key(object)] = t
	}
	bundles := playground.CABundles(object)
	for _, bundle := range bundles[1:] {
		if !bytes.Equal(bundle, bundles[0]) {
			c.note(fmt.Errorf("%s is half written, in resourceVersion %s", key(object), object.GetResourceVersion()))
			return
		}
	}
	if string(bundles[0]) == Placeholder {
		// Nobody but the test writes that.
		if t.gap.IsZero() {
			t.gap = time.Now()
			c.gaps++
		}
		t.held, t.filled = nil, time.Time{}
		return
	}
	if !t.gap.IsZero() {
		c.longest = max(c.longest, time.Since(t.gap))
		t.gap = time.Time{}
	}
	held, rest := certificates(bundles[0])
	if len(rest) > 0 {
		c.note(fmt.Errorf("%s holds what is no certificate, in resourceVersion %s: %q", key(object), object.GetResourceVersion(), rest))
	}
	for certificate := range held {
		if !source.known[certificate] {
			c.note(fmt.Errorf("%s holds a certificate that its source never held, in resourceVersion %s", key(object), object.GetResourceVersion()))
		}
	}
	for certificate := range t.held {
		if !held[certificate] && !expired(certificate) {
			c.note(fmt.Errorf("%s has lost a certificate, in resourceVersion %s", key(object), object.GetResourceVersion()))
		}
	}
	t.held = held
	switch {
	case !held[string(source.now)]:
		t.filled = time.Time{}
	case t.filled.IsZero():
		t.filled = time.Now()
	}
}

// certificates returns those of a bundle in PEM, each as written, and what is left of it.
func certificates(bundle []byte) (found map[string]bool, rest []byte) {
	found = map[string]bool{}
	for len(bundle) > 0 {
		block, after := pem.Decode(bundle)
		if block == nil || block.Type != "CERTIFICATE" {
			break
		}
		whole := pem.EncodeToMemory(block)
		if !bytes.HasPrefix(bundle, whole) {
			break
		}
		found[string(whole)] = true
		bundle = after
	}
	return found, bundle
}

// expired reports that a certificate in PEM may be gone.
func expired(certificate string) bool {
	block, _ := pem.Decode([]byte(certificate))
	parsed, err := x509.ParseCertificate(block.Bytes)
	return err == nil && time.Now().After(parsed.NotAfter)
}

// Wrong returns the targets that do not hold what their source does now, want being how many there should be.
func (c *Census) Wrong(want int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.targets) != want {
		return fmt.Errorf("%d targets are there, not the %d that were created", len(c.targets), want)
	}
	for _, name := range slices.Sorted(maps.Keys(c.targets)) {
		if c.targets[name].filled.IsZero() {
			return fmt.Errorf("%s does not hold the CA of %s", name, c.targets[name].source)
		}
	}
	return nil
}

// Filled returns when a target came to hold what its source does now; zero if it does not.
func (c *Census) Filled(object client.Object) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.targets[key(object)]; t != nil {
		return t.filled
	}
	return time.Time{}
}

// AllFilled returns the same of all targets.
func (c *Census) AllFilled() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []time.Time
	for _, t := range c.targets {
		all = append(all, t.filled)
	}
	return all
}

// LastFilled returns when the last target came to hold what its source does now.
func (c *Census) LastFilled() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var last time.Time
	for _, t := range c.targets {
		if t.filled.After(last) {
			last = t.filled
		}
	}
	return last
}

// WaitRight returns once all want targets hold what their sources do, or an error that says what does not when ctx ends.
func (c *Census) WaitRight(ctx context.Context, want int) error {
	for {
		err := c.Wrong(want)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Gaps returns how often a Placeholder was stored, because admission did not replace it, and for how long it was at most.
func (c *Census) Gaps() (n int, longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gaps, c.longest
}

// Result returns what must never have been and was, and how many states were looked at.
func (c *Census) Result() (states int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.states, errors.Join(c.errs...)
}
