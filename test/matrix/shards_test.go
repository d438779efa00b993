package matrix

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// clusterAnnotation names the cluster that a shard belongs to.
const clusterAnnotation = "caject.io/cluster"

// shards are the PodTemplates that hold what is published.
type shards []corev1.PodTemplate

// shardsOf reads those that the policies read: all with the label.
func shardsOf(ctx context.Context, c client.Client) (shards, error) {
	return playground.Shards(ctx, c)
}

// attributes are what one volume of a shard holds: sources, and what is said of them.
func attributes(shard *corev1.PodTemplate, volume int) map[string]string {
	volumes := shard.Template.Spec.Volumes
	if len(volumes) <= volume || volumes[volume].CSI == nil {
		return nil
	}
	return volumes[volume].CSI.VolumeAttributes
}

// of returns the certificates that are published of a source, and the names of the shards that have it.
func (s shards) of(source string) (bundle []string, in []string, err error) {
	for i := range s {
		entry, ok := attributes(&s[i], 0)[source]
		if !ok {
			continue
		}
		in = append(in, s[i].Name)
		word, _, _ := strings.Cut(entry, " ")
		decoded, decodeErr := base64.StdEncoding.DecodeString(word)
		if decodeErr != nil {
			err = errors.Join(err, fmt.Errorf("%s has what is not base64 of %s: %w", s[i].Name, source, decodeErr))
		}
		bundle = append(bundle, certificates(string(decoded))...)
	}
	return bundle, in, err
}

// right returns an error unless each of sources is published in one shard, with its last certificate and with none that was never
// its own, and all shards belong to this cluster. sources has all that each of them ever held, the last one last.
func (s shards) right(cluster string, sources map[string][]string) error {
	for i := range s {
		if got := s[i].Annotations[clusterAnnotation]; got != cluster {
			return fmt.Errorf("%s belongs to cluster %q", s[i].Name, got)
		}
	}
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		known := sources[source]
		bundle, in, err := s.of(source)
		switch {
		case err != nil:
			return err
		case len(in) != 1:
			return fmt.Errorf("%s is in the shards %v", source, in)
		case !slices.Contains(bundle, known[len(known)-1]):
			return fmt.Errorf("the %d certificates published of %s are not its latest", len(bundle), source)
		}
		for _, certificate := range bundle {
			if !slices.Contains(known, certificate) {
				return fmt.Errorf("%s: a certificate is published that is not its own", source)
			}
		}
	}
	return nil
}

// clusterOf returns what identifies the cluster.
func clusterOf(ctx context.Context, c client.Client) (string, error) {
	namespace := &corev1.Namespace{}
	err := c.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace)
	return string(namespace.UID), err
}

// unguard takes away what keeps the admin from writing shards, and returns once that is so. The chart's guard lets caject alone.
func unguard(ctx context.Context, c client.Client) error {
	var bindings admissionregistrationv1.ValidatingAdmissionPolicyBindingList
	if err := c.List(ctx, &bindings); err != nil {
		return err
	}
	guards := 0
	for i := range bindings.Items {
		if strings.Contains(bindings.Items[i].Name, "guard") {
			guards++
			if err := c.Delete(ctx, &bindings.Items[i]); err != nil {
				return err
			}
		}
	}
	if guards == 0 {
		return errors.New("the chart has no guard")
	}
	return eventually(ctx, patience, func(ctx context.Context) error { return probe(ctx, c) })
}

// probe tries to write a shard, and stores nothing.
func probe(ctx context.Context, c client.Client) error {
	all, err := shardsOf(ctx, c)
	if err != nil || len(all) == 0 {
		return fmt.Errorf("there are no shards (%w)", err)
	}
	shard := all[0]
	metav1.SetMetaDataAnnotation(&shard.ObjectMeta, "example.com/probe", "")
	return c.Update(ctx, &shard, client.DryRunAll)
}

// guarded returns an error unless the admin is kept from writing shards.
func guarded(ctx context.Context, c client.Client) error {
	return eventually(ctx, patience, func(ctx context.Context) error {
		if err := probe(ctx, c); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the admin's write of a shard is not refused: %w", err)
		}
		return nil
	})
}

// edit changes each shard. One that goes meanwhile is none of its business.
func edit(ctx context.Context, c client.Client, change func(*corev1.PodTemplate)) error {
	all, err := shardsOf(ctx, c)
	if err != nil {
		return err
	}
	for i := range all {
		err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			if err := c.Get(ctx, client.ObjectKeyFromObject(&all[i]), &all[i]); err != nil {
				return err
			}
			change(&all[i])
			return c.Update(ctx, &all[i])
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// remove deletes each shard.
func remove(ctx context.Context, c client.Client) error {
	all, err := shardsOf(ctx, c)
	if err != nil {
		return err
	}
	for i := range all {
		if err := c.Delete(ctx, &all[i]); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// move puts each shard under another name.
func move(ctx context.Context, c client.Client) error {
	all, err := shardsOf(ctx, c)
	if err != nil {
		return err
	}
	for i, shard := range all {
		moved := shard.DeepCopy()
		moved.Name, moved.ResourceVersion, moved.UID = fmt.Sprintf("%s-published-%d", playground.Namespace, 40+i), "", ""
		if err := c.Create(ctx, moved); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		if err := c.Delete(ctx, &all[i]); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// sourceKey is what the shards call a Secret of the trial's.
func sourceKey(name string) string { return "secret/" + trial.Namespace + "/" + name }
