package matrix

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
)

// observer sees each state of each target that it was told of, and notes in its cell whatever must never be: a certificate of
// somebody else's, one that has got lost, and a field that has lost all.
type observer struct {
	client client.WithWatch
	name   func(certificate string, c *cell) rune

	mu     sync.Mutex
	cells  map[string]*cell // by kind and name
	states map[string]*unstructured.Unstructured
}

func newObserver(c client.WithWatch, name func(string, *cell) rune) *observer {
	return &observer{client: c, name: name, cells: map[string]*cell{}, states: map[string]*unstructured.Unstructured{}}
}

// run watches until ctx ends.
func (o *observer) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, kind := range cabundle.Kinds() {
		all.Go(func() { o.follow(ctx, kind.GroupVersionKind()) })
	}
	all.Wait()
}

// follow watches one kind until ctx ends. The next watch begins where the last one was, so that no state is missed.
func (o *observer) follow(ctx context.Context, kind schema.GroupVersionKind) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind)
	version := "0"
	for ; ctx.Err() == nil; pause(ctx) {
		watcher, err := o.client.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
		if err != nil {
			continue
		}
		for event := range watcher.ResultChan() {
			object, ok := event.Object.(*unstructured.Unstructured)
			if !ok || event.Type == watch.Error {
				version = "0"
				break
			}
			version = object.GetResourceVersion()
			o.look(object, event.Type == watch.Deleted)
		}
		watcher.Stop()
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

func key(object client.Object) string {
	return object.GetObjectKind().GroupVersionKind().Kind + " " + object.GetName()
}

// expect has the observer look at the target of a cell from now on.
func (o *observer) expect(c *cell, object client.Object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cells[key(object)] = c
}

// state returns a target as it was last seen, or nil if it is not there.
func (o *observer) state(object client.Object) *unstructured.Unstructured {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.states[key(object)]
}

// look compares one state with the one before.
func (o *observer) look(object *unstructured.Unstructured, gone bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.cells[key(object)]
	if c == nil {
		return
	}
	before := o.states[key(object)]
	if gone {
		delete(o.states, key(object))
		return
	}
	o.states[key(object)] = object
	if object.GetDeletionTimestamp() != nil {
		return // a CRD takes a while to go
	}
	if before != nil && before.GetUID() != object.GetUID() {
		before = nil
	}
	for i, field := range fieldsOf(object) {
		held := o.held(c, field)
		if strings.ContainsRune(held, foreign) {
			c.note(fmt.Errorf("it holds [%s], ! being a foreign certificate, in resourceVersion %s", held, object.GetResourceVersion()))
		}
		if before == nil || i >= len(fieldsOf(before)) {
			continue
		}
		if lost := c.lost(o.held(c, fieldsOf(before)[i]), held); lost != "" {
			c.note(fmt.Errorf("it has lost [%s], and holds [%s] (%q), in resourceVersion %s", lost, held, raw(field), object.GetResourceVersion()))
		}
	}
}

// held returns the digits of the certificates of a field.
func (o *observer) held(c *cell, field map[string]any) string {
	var digits strings.Builder
	for _, certificate := range certificates(raw(field)) {
		digits.WriteRune(o.name(certificate, c))
	}
	return digits.String()
}

// lost returns which of the certificates before are not in now, but for those that the reset itself takes away.
func (c *cell) lost(before, now string) string {
	reset := c.group.reset
	if now == "" && !reset.restored && !reset.recreated && !c.kept() {
		return "" // nobody sees it before it is stored
	}
	var lost strings.Builder
	for _, digit := range before {
		taken := reset.restored && digit != '0' // the backup does not hold it
		if !taken && !strings.ContainsRune(now, digit) {
			lost.WriteRune(digit)
		}
	}
	return lost.String()
}

// fieldsOf returns the parts of a target that hold a caBundle.
func fieldsOf(object *unstructured.Unstructured) []map[string]any {
	switch object.GetKind() {
	case "APIService":
		spec, _ := object.Object["spec"].(map[string]any)
		return []map[string]any{spec}
	case "CustomResourceDefinition":
		config, _, _ := nested(object.Object, "spec", "conversion", "webhook", "clientConfig")
		return []map[string]any{config}
	}
	var fields []map[string]any
	webhooks, _ := object.Object["webhooks"].([]any)
	for _, webhook := range webhooks {
		config, _, _ := nested(webhook.(map[string]any), "clientConfig")
		fields = append(fields, config)
	}
	return fields
}

// nested is unstructured.NestedMap without a copy.
func nested(object map[string]any, path ...string) (map[string]any, bool, error) {
	value, ok, err := unstructured.NestedFieldNoCopy(object, path...)
	found, _ := value.(map[string]any)
	return found, ok, err
}

// raw returns what a caBundle holds, decoded.
func raw(field map[string]any) string {
	text, _ := field["caBundle"].(string)
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	return string(decoded)
}

// certificates returns those of a caBundle, each in PEM.
func certificates(bundle string) (all []string) {
	for rest := []byte(bundle); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		all = append(all, string(pem.EncodeToMemory(block)))
	}
}

// version returns an object's resourceVersion as a number.
func version(object client.Object) uint64 {
	n, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
