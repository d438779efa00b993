package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// A witness sees each state of one target that was ever stored, by a watch without a gap. A certificate that a caBundle has
// held must be in it ever after: a target that was good has no moment in which it is not.
type witness struct {
	object client.Object // what it starts from
	name   string
	held   []map[string]bool // for each caBundle, the certificates
	bare   bool              // it may be without for a moment: no request that writes it fills it
	last   state
	told   state      // the last one that testify has had
	seen   chan state // each, when it has been looked at
	failed chan error
}

// state is one state of a target.
type state struct {
	version string // its resourceVersion
	content string // all but that and its status
	changes int    // how often the content has changed until now
}

// witness begins with object as it was just read, and ends with the test.
func (i *installation) witness(t *testing.T, object client.Object) *witness {
	t.Helper()
	return i.witnessOf(t, object, false)
}

// witnessOf is witness, and lets the object be bare for a moment if bare is true.
func (i *installation) witnessOf(t *testing.T, object client.Object, bare bool) *witness {
	t.Helper()
	w := &witness{
		bare: bare, object: object.DeepCopyObject().(client.Object), name: fmt.Sprintf("%T %s", object, object.GetName()),
		seen: make(chan state, 1000), failed: make(chan error, 1),
	}
	if err := w.look(object); err != nil {
		t.Fatal(err)
	}
	go func() { w.failed <- w.run(t.Context(), i.client) }()
	return w
}

// run looks at each state until ctx ends, or something is wrong.
func (w *witness) run(ctx context.Context, c client.WithWatch) error {
	for {
		watcher, err := c.Watch(ctx, listFor(w.object), client.MatchingFields{"metadata.name": w.object.GetName()},
			&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: w.last.version}})
		if err != nil {
			return fmt.Errorf("watch %s: %w", w.name, err)
		}
		for event := range watcher.ResultChan() {
			if err := w.handle(event); err != nil {
				watcher.Stop()
				return err
			}
		}
		// The API server ends a watch now and then; the next one begins where it was.
	}
}

func (w *witness) handle(event watch.Event) error {
	switch event.Type {
	case watch.Error:
		return fmt.Errorf("watch %s: %w", w.name, apierrors.FromObject(event.Object))
	case watch.Deleted:
		return fmt.Errorf("%s was deleted", w.name)
	}
	return w.look(event.Object.(client.Object))
}

// look compares one state with all before it.
func (w *witness) look(object client.Object) error {
	for n, bundle := range playground.CABundles(object) {
		if n == len(w.held) {
			w.held = append(w.held, map[string]bool{})
		}
		now := certificates(bundle)
		for certificate := range w.held[n] {
			if !now[certificate] && !w.bare {
				return fmt.Errorf("caBundle %d of %s has lost a certificate, in resourceVersion %s; it is %q", n, w.name, object.GetResourceVersion(), bundle)
			}
		}
		w.held[n] = now
	}
	now := state{version: object.GetResourceVersion(), content: contentOf(object), changes: w.last.changes}
	if now.content != w.last.content {
		now.changes++
	}
	w.last = now
	w.seen <- now
	return nil
}

// contentOf returns what is not written by controllers that look after the status. Nor do the times in managedFields count: the
// API server notes them for whoever sends another caBundle than there is, before admission puts it right.
func contentOf(object client.Object) string {
	object = object.DeepCopyObject().(client.Object)
	object.SetResourceVersion("")
	var managed []metav1.ManagedFieldsEntry
	for _, entry := range object.GetManagedFields() {
		if entry.Time = nil; entry.Subresource != "status" {
			managed = append(managed, entry)
		}
	}
	object.SetManagedFields(managed)
	object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	switch o := object.(type) {
	case *apiextensionsv1.CustomResourceDefinition:
		o.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	case *apiregistrationv1.APIService:
		o.Status = apiregistrationv1.APIServiceStatus{}
	}
	raw, err := json.Marshal(object)
	if err != nil {
		panic(err) // of types that the API server itself sends as JSON
	}
	return string(raw)
}

// certificates returns those of a bundle, as DER.
func certificates(bundle []byte) map[string]bool {
	found := map[string]bool{}
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		found[string(block.Bytes)] = true
	}
	return found
}

// testify returns what object is, as just read. It fails the test if any state up to that had lost a certificate.
func (w *witness) testify(t *testing.T, object client.Object) state {
	t.Helper()
	deadline := time.After(timeout)
	for w.told.version != object.GetResourceVersion() {
		select {
		case w.told = <-w.seen:
		case err := <-w.failed:
			t.Fatal(err)
		case <-deadline:
			t.Fatalf("the watch of %s has not come to resourceVersion %s", w.name, object.GetResourceVersion())
		}
	}
	return w.told
}

// listFor returns an empty list of the kind of object.
func listFor(object client.Object) client.ObjectList {
	switch object.(type) {
	case *apiextensionsv1.CustomResourceDefinition:
		return &apiextensionsv1.CustomResourceDefinitionList{}
	case *apiregistrationv1.APIService:
		return &apiregistrationv1.APIServiceList{}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		return &admissionregistrationv1.ValidatingWebhookConfigurationList{}
	default:
		return &admissionregistrationv1.MutatingWebhookConfigurationList{}
	}
}

// TestAWitnessSeesWhatIsGoneForAMoment has a configuration lose its bundle and get it back, out of caject's sight.
func TestAWitnessSeesWhatIsGoneForAMoment(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("witness")
	for kind, make := range kinds {
		object := make("witness"+strings.ToLower(string(kind)), nil)
		playground.SetCABundles(object, ca)
		shared.create(t, object)
		w := shared.witness(t, object)
		shared.edit(t, object, nil)
		shared.edit(t, object, ca)
		select {
		case err := <-w.failed:
			if err == nil || !strings.Contains(err.Error(), "lost a certificate") {
				t.Errorf("%s: %v", kind, err)
			}
		case <-time.After(timeout):
			t.Errorf("%s: nothing was noticed", kind)
		}
	}
}
