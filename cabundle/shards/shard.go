package shards

import (
	"cmp"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/caject/caject/cabundle"
)

const (
	// Label is that of each shard; its value is the name of the installation. The policies' bindings select by it.
	Label = "caject.io/published"
	// notReadyLabel is there while a source cannot be injected: for the policy that warns.
	notReadyLabel = "caject.io/not-ready"
	// clusterAnnotation holds the UID of the namespace kube-system: a shard out of another cluster's backup counts for nothing.
	clusterAnnotation = "caject.io/cluster"

	driver          = "caject.io"
	publishedVolume = 0 // the policies look there
	historyVolume   = 1
	problemVolume   = 2 // the policy that warns looks there
)

// name names a shard: it is that of a PodTemplate, less the name of the installation.
type name struct {
	role   role
	number int
}

// role says what a shard is for.
type role string

const (
	named role = "published" // sources that targets name
	ahead role = "ahead"     // sources that none names (yet)
)

func (n name) ahead() bool { return n.role == ahead }

// compare orders shards: those of named sources first.
func (n name) compare(other name) int {
	return cmp.Or(-cmp.Compare(n.role, other.role), cmp.Compare(n.number, other.number))
}

// object returns the name of the PodTemplate.
func (n name) object(installation string) string {
	return fmt.Sprintf("%s-%s-%d", installation, n.role, n.number)
}

// parseName is the reverse of object. ok is false if it is no shard's.
func parseName(installation, object string) (n name, ok bool) {
	rest, ok := strings.CutPrefix(object, installation+"-")
	if !ok {
		return name{}, false
	}
	of, digits, _ := strings.Cut(rest, "-")
	number, err := strconv.ParseUint(digits, 10, 16)
	n = name{role: role(of), number: int(number)}
	return n, err == nil && (n.role == named || n.role == ahead) && n.object(installation) == object
}

// shard is one as it was last read or written. It is never changed.
type shard struct {
	object  *corev1.PodTemplate // without what it holds
	entries map[string]values   // by source
	bytes   int                 // of all entries
	foreign bool                // it is another cluster's
	wrong   bool                // it is not as render makes it: it is to be written, whatever it holds
}

// parse reads a PodTemplate. What is no entry of a source is not there.
func parse(object *corev1.PodTemplate, o Options, identity Identity) *shard {
	s := &shard{entries: map[string]values{}}
	s.foreign = identity.Cluster != "" && object.Annotations[clusterAnnotation] != identity.Cluster
	volumes := object.Template.Spec.Volumes
	if !s.foreign && len(volumes) > historyVolume && volumes[publishedVolume].CSI != nil && volumes[historyVolume].CSI != nil {
		histories, problems := volumes[historyVolume].CSI.VolumeAttributes, map[string]string{}
		if len(volumes) > problemVolume && volumes[problemVolume].CSI != nil {
			problems = volumes[problemVolume].CSI.VolumeAttributes
		}
		for source, published := range volumes[publishedVolume].CSI.VolumeAttributes {
			if _, ok := cabundle.ParseReference(source); ok {
				s.set(source, values{published, histories[source], problems[source]})
			}
		}
	}
	s.wrong = !s.foreign && !isAsRendered(object, s.render(object, o, identity))
	s.object = object.DeepCopy()
	s.object.Template = corev1.PodTemplateSpec{} // the entries have the strings
	return s
}

// isAsRendered reports whether object is as render makes it, as far as caject and the policies look at it.
func isAsRendered(object, rendered *corev1.PodTemplate) bool {
	if object.Labels[Label] != rendered.Labels[Label] || object.Labels[notReadyLabel] != rendered.Labels[notReadyLabel] ||
		object.Annotations[clusterAnnotation] != rendered.Annotations[clusterAnnotation] {
		return false
	}
	volumes := object.Template.Spec.Volumes
	if len(volumes) != len(rendered.Template.Spec.Volumes) {
		return false
	}
	for i, volume := range rendered.Template.Spec.Volumes {
		if volumes[i].CSI == nil || !maps.Equal(volumes[i].CSI.VolumeAttributes, volume.CSI.VolumeAttributes) {
			return false
		}
	}
	return true
}

// set puts v in place of what s holds of source. The caller owns s.
func (s *shard) set(source string, v values) {
	s.remove(source)
	s.entries[source] = v
	s.bytes += v.bytes(source)
}

// remove takes source out of s. The caller owns s.
func (s *shard) remove(source string) {
	if v, ok := s.entries[source]; ok {
		s.bytes -= v.bytes(source)
		delete(s.entries, source)
	}
}

// clone returns a copy of s that the caller owns. A foreign shard begins anew.
func (s *shard) clone() *shard {
	return &shard{object: s.object, entries: maps.Clone(s.entries), bytes: s.bytes}
}

// render returns the PodTemplate that holds what s does, in place of object.
func (s *shard) render(object *corev1.PodTemplate, o Options, identity Identity) *corev1.PodTemplate {
	published, histories, problems := map[string]string{}, map[string]string{}, map[string]string{}
	for source, v := range s.entries {
		published[source], histories[source] = v.published, v.history
		if v.problem != "" {
			problems[source] = v.problem
		}
	}
	rendered := &corev1.PodTemplate{ObjectMeta: *object.ObjectMeta.DeepCopy()}
	metav1.SetMetaDataLabel(&rendered.ObjectMeta, Label, o.Name)
	delete(rendered.Labels, notReadyLabel)
	if len(problems) > 0 {
		metav1.SetMetaDataLabel(&rendered.ObjectMeta, notReadyLabel, "true")
	}
	if identity.Cluster != "" {
		metav1.SetMetaDataAnnotation(&rendered.ObjectMeta, clusterAnnotation, identity.Cluster)
	}
	if identity.Owner != nil {
		rendered.OwnerReferences = []metav1.OwnerReference{*identity.Owner}
	}
	rendered.Template.Spec = corev1.PodSpec{
		// It never runs. Pod security checks look at it all the same, and would warn.
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   ptr.To(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "none", Image: "none",
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false),
				Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
		Volumes: []corev1.Volume{volume("published", published), volume("history", histories), volume("problems", problems)},
	}
	return rendered
}

func volume(name string, attributes map[string]string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: driver, VolumeAttributes: attributes},
	}}
}
