package policycost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// rotations writes a shard once for each rotation of one of its sources, and prints how much more memory the API server holds then, in
// live bytes of its heap: those with all sources were measured against before, when there were none.
func (c *cost) rotations(ctx context.Context, none uint64, out io.Writer) error {
	all, err := heap(ctx, c.config)
	if err != nil {
		return err
	}
	shard := &corev1.PodTemplate{}
	key := client.ObjectKey{Namespace: playground.Namespace, Name: "caject-published-1"}
	if err := c.caject.Get(ctx, key, shard); err != nil {
		return err
	}
	former, next := playground.NewCA("former"), playground.NewCA("next")
	for range c.Rotations {
		shard.Template.Spec.Volumes[0].CSI.VolumeAttributes["secret/team/"+published] = playground.Entry(next, former)
		if err := c.caject.Update(ctx, shard); err != nil {
			return err
		}
		former, next = next, former
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.Pause):
		}
	}
	rotated, err := heap(ctx, c.config)
	if err != nil {
		return err
	}
	const mebi = 1 << 20
	_, err = fmt.Fprintf(out, "live heap of the API server: %.1f MiB with no source, %.1f more with %d in %d shards, %.1f more after %d rotations of one, %s apart\n",
		float64(none)/mebi, (float64(all)-float64(none))/mebi, c.sources, c.shards, (float64(rotated)-float64(all))/mebi, c.Rotations, c.Pause)
	return err
}

var heapAlloc = regexp.MustCompile(`# HeapAlloc = (\d+)`)

// heap returns how many bytes of the API server's heap are in use after a garbage collection.
func heap(ctx context.Context, config *rest.Config) (inUse uint64, err error) {
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		return 0, err
	}
	for range 2 { // the second one takes what finalizers have let go
		text, err := c.Discovery().RESTClient().Get().AbsPath("/debug/pprof/heap").Param("gc", "1").Param("debug", "1").DoRaw(ctx)
		if err != nil {
			return 0, err
		}
		found := heapAlloc.FindSubmatch(text)
		if found == nil {
			return 0, errors.New("the API server does not say how much memory is in use")
		}
		if inUse, err = strconv.ParseUint(string(found[1]), 10, 64); err != nil {
			return 0, err
		}
	}
	return inUse, nil
}
