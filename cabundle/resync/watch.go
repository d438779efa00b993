package resync

import (
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

// Watches returns the watches of the kinds that are looked after, made by w. The caller starts them.
func (r *Resync) Watches(w *cluster.Watcher) []*cluster.Watch[*metav1.PartialObjectMetadata] {
	var watches []*cluster.Watch[*metav1.PartialObjectMetadata]
	for _, kind := range cabundle.Kinds() {
		own := slices.ContainsFunc(r.options.Own, func(t cabundle.Target) bool { return t.Kind == kind })
		if own || slices.Contains(r.options.Kinds, kind) {
			watches = append(watches, w.WatchTargets(kind, kindHandler{r, kind}))
		}
	}
	r.watches = watches
	return watches
}

// Synced reports whether all objects that were there at the start have been seen.
func (r *Resync) Synced() bool {
	return !slices.ContainsFunc(r.watches, func(w *cluster.Watch[*metav1.PartialObjectMetadata]) bool { return !w.Synced() })
}

// kindHandler takes in what the watch of a kind shows.
type kindHandler struct {
	resync *Resync
	kind   cabundle.Kind
}

// Seen implements [cluster.Handler].
func (h kindHandler) Seen(object *metav1.PartialObjectMetadata, listed bool) {
	target := cabundle.Target{Kind: h.kind, Name: object.Name}
	ref, annotated, problem := cabundle.ReferenceOf(object.Annotations)
	replace := cabundle.Replaces(object.Annotations)
	seenVersion := versionOf(object.Generation, object.ResourceVersion, ref, replace)
	if problem != nil {
		seenVersion += problem.Detail // one malformed annotation is not the other
	}
	if annotated && object.DeletionTimestamp.IsZero() && h.resync.wanted(target) {
		h.resync.tracker.see(target, seen{
			uid: object.UID, version: seenVersion, ref: ref, replace: replace, invalid: problem, at: h.resync.clock.Now(), fresh: !listed && !h.kind.Admitted(),
		})
		if !listed && h.kind.Admitted() {
			h.resync.suspectWebhook()
		}
	} else {
		h.resync.tracker.forget(target)
	}
	h.resync.options.Observe(target)
}

// Gone implements [cluster.Handler].
func (h kindHandler) Gone(name string) {
	target := cabundle.Target{Kind: h.kind, Name: name}
	h.resync.tracker.forget(target)
	h.resync.options.Observe(target)
}

func versionOf(generation int64, resourceVersion string, ref cabundle.Reference, replace bool) string {
	wish := " " + ref.String()
	if replace {
		wish += " replace"
	}
	if generation > 0 {
		return "generation " + strconv.FormatInt(generation, 10) + wish
	}
	return "resourceVersion " + resourceVersion + wish
}
