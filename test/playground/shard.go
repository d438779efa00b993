package playground

import (
	"context"
	"encoding/base64"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/shards"
)

// ourShards selects the PodTemplates that the chart's policies fill targets from; the label's value is the chart's full name.
var ourShards = client.MatchingLabels{shards.Label: "caject"}

// Shards returns what caject publishes in, as the policies find it.
func Shards(ctx context.Context, c client.Client) ([]corev1.PodTemplate, error) {
	list := &corev1.PodTemplateList{}
	err := c.List(ctx, list, client.InNamespace(Namespace), ourShards)
	return list.Items, err
}

// NewShard returns a PodTemplate that publishes entries, by source, as caject's own are.
func NewShard(name string, entries map[string]string) *corev1.PodTemplate {
	yes, no := true, false
	return &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name, Labels: maps.Clone(ourShards)},
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{Name: "none", Image: "none", SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}}},
			Volumes: []corev1.Volume{volume("published", entries), volume("history", nil), volume("problems", nil)},
		}},
	}
}

func volume(name string, attributes map[string]string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: "caject.io", VolumeAttributes: attributes},
	}}
}

// Entry returns what a shard holds of a source: its bundle, in PEM, and former ones that a policy may replace by it.
func Entry(bundle []byte, former ...[]byte) string {
	words := []string{base64.StdEncoding.EncodeToString(bundle)}
	for _, one := range former {
		words = append(words, base64.StdEncoding.EncodeToString(one))
	}
	return strings.Join(words, " ")
}
