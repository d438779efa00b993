package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
)

const (
	// pageLimit is how many objects one page of a list has.
	pageLimit = "500"
	// parallelReads is how many objects are read at the same time.
	parallelReads = 16
	// metadataList asks the API server to answer with a list of the objects' metadata alone.
	metadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// List returns the objects of kind that ask for injection, or were meant to, with their Managers. CRDs reach megabytes: of those the
// annotations are listed, and then the annotated ones read one by one. One that goes away in between is left out.
func (t *Targets) List(ctx context.Context, kind cabundle.Kind) ([]cabundle.Object, error) {
	annotated, err := t.list(ctx, kind)
	if err != nil || !kind.Conditional() {
		return annotated, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	whole := make([]cabundle.Object, len(annotated))
	for i, object := range annotated {
		group.Go(func() error {
			read, err := t.Get(ctx, object.Target, Cached)
			whole[i] = read
			return client.IgnoreNotFound(err)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(whole, func(object cabundle.Object) bool { return object.Name == "" }), nil
}

// list reads the annotated objects of kind page by page; only their metadata, if the rest may be large.
func (t *Targets) list(ctx context.Context, kind cabundle.Kind) ([]cabundle.Object, error) {
	var annotated []cabundle.Object
	resource := kind.Resource()
	for next := ""; ; {
		request := t.rest.Get().AbsPath("apis", resource.Group, resource.Version, resource.Resource).Param("limit", pageLimit)
		if next != "" {
			request.Param("continue", next)
		}
		if kind.Conditional() {
			request.SetHeader("Accept", metadataList)
		}
		raw, err := answer(request.Do(ctx))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		gjson.GetBytes(raw, "items").ForEach(func(_, item gjson.Result) bool {
			if object := parse(kind, []byte(item.Raw)); object.Asks() {
				annotated = append(annotated, object)
			}
			return true
		})
		if next = gjson.GetBytes(raw, "metadata.continue").String(); next == "" {
			return annotated, nil
		}
	}
}
