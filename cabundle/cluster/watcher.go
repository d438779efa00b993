package cluster

import (
	"context"
	"fmt"
	"maps"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// Watcher makes the watches that caject needs.
type Watcher struct {
	metadata metadata.Interface
	bundles  rest.Interface
	core     rest.Interface
	clock    clock.Clock
}

// NewWatcher returns a Watcher for the API server of config.
func NewWatcher(config *rest.Config, httpClient *http.Client, c clock.Clock) (*Watcher, error) {
	objects, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client for metadata: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.PodTemplate{}, &corev1.PodTemplateList{})
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	codecs := serializer.NewCodecFactory(scheme)
	bundles, err := apiutil.RESTClientForGVK(v1alpha1.GroupVersion.WithKind("CABundle"), true, false, config, codecs, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client for CABundles: %w", err)
	}
	core, err := apiutil.RESTClientForGVK(corev1.SchemeGroupVersion.WithKind("PodTemplate"), false, false, config, codecs, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make a client for PodTemplates: %w", err)
	}
	return &Watcher{metadata: objects, bundles: bundles, core: core, clock: c}, nil
}

// WatchTargets returns a watch of the metadata of all objects of kind, annotated or not. Of the metadata handler gets name, UID,
// resourceVersion, generation, deletionTimestamp and those annotations that decide what is injected.
func (w *Watcher) WatchTargets(kind cabundle.Kind, handler Handler[*metav1.PartialObjectMetadata]) *Watch[*metav1.PartialObjectMetadata] {
	resource := w.metadata.Resource(kind.Resource())
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
	return NewWatch(string(kind), lw, w.metadata, &metav1.PartialObjectMetadata{}, handler, slimTarget, w.clock)
}

// WatchBundles returns a watch of all CABundles. handler gets them whole.
func (w *Watcher) WatchBundles(handler Handler[*v1alpha1.CABundle]) *Watch[*v1alpha1.CABundle] {
	lw := toolscache.NewFilteredListWatchFromClient(w.bundles, "cabundles", "", func(*metav1.ListOptions) {})
	return NewWatch("CABundle", lw, w.bundles, &v1alpha1.CABundle{}, handler, nil, w.clock)
}

// WatchShards returns a watch of the PodTemplates in a namespace that hold what an installation publishes. handler gets them without what
// it does not need to write them.
func (w *Watcher) WatchShards(o shards.Options, handler Handler[*corev1.PodTemplate]) *Watch[*corev1.PodTemplate] {
	lw := toolscache.NewFilteredListWatchFromClient(w.core, "podtemplates", o.Namespace, func(options *metav1.ListOptions) {
		options.LabelSelector = shards.Label + "=" + o.Name
	})
	slim := func(object *corev1.PodTemplate) { object.ManagedFields = nil }
	return NewWatch("PodTemplate", lw, w.core, &corev1.PodTemplate{}, handler, slim, w.clock)
}

// slimTarget keeps of a target's metadata what tells whether it needs a look. What kubectl apply keeps in an annotation can be
// 256 KB.
func slimTarget(object *metav1.PartialObjectMetadata) {
	maps.DeleteFunc(object.Annotations, func(key, _ string) bool { return !cabundle.DecidesInjection(key) })
	object.ObjectMeta = metav1.ObjectMeta{
		Name:              object.Name,
		UID:               object.UID,
		ResourceVersion:   object.ResourceVersion,
		Generation:        object.Generation,
		Annotations:       object.Annotations,
		DeletionTimestamp: object.DeletionTimestamp,
	}
}
