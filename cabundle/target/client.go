// Package target reads and patches the objects that carry a caBundle. It works on their JSON, so that a CRD of
// megabytes is never turned into Go objects.
package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"gomodules.xyz/jsonpatch/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/source"
)

const (
	// FieldManager is the name under which caject writes.
	FieldManager = "caject"
	// policyFieldManager is the name under which caject has a target admitted again without its own webhook being called: the
	// chart's match conditions leave it out. It never owns anything, for nothing is applied under it.
	policyFieldManager = "caject-policy"
	// CainjectorFieldManager is the name under which cert-manager's cainjector writes.
	CainjectorFieldManager = "cert-manager-cainjector"
)

// metadataOnly asks the API server to answer with the object's metadata alone.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// Client reads and patches targets.
type Client struct {
	rest rest.Interface
}

// NewClient returns a Client for the API server of config.
func NewClient(config *rest.Config, httpClient *http.Client) (*Client, error) {
	config = rest.CopyConfig(config)
	config.ContentType = "application/json"
	config.AcceptContentTypes = "application/json"
	config.NegotiatedSerializer = serializer.WithoutConversionCodecFactory{CodecFactory: scheme.Codecs}
	c, err := rest.UnversionedRESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	return &Client{rest: c}, nil
}

// Get reads t, with its Managers. The errors are those of the API machinery (apierrors.IsNotFound and so on).
func (c *Client) Get(ctx context.Context, t cabundle.Target, freshness source.Freshness) (cabundle.Object, error) {
	request := c.rest.Get().AbsPath(path(t)...)
	if version := freshness.Options().ResourceVersion; version != "" {
		request.Param("resourceVersion", version)
	}
	raw, err := answer(request.Do(ctx))
	if err != nil {
		return cabundle.Object{}, fmt.Errorf("read %s: %w", t, err)
	}
	return parse(t.Kind, raw), nil
}

// Readmit has t admitted again as it is: admission writes what it has to change, and nothing is written if that is
// nothing. byPolicy leaves out caject's own webhook. It returns what is stored then.
func (c *Client) Readmit(ctx context.Context, t cabundle.Target, byPolicy bool) (cabundle.Object, error) {
	manager := FieldManager
	if byPolicy {
		manager = policyFieldManager
	}
	raw, err := answer(c.rest.Patch(types.MergePatchType).
		AbsPath(path(t)...).
		Param("fieldManager", manager).
		Body([]byte("{}")).
		Do(ctx))
	if err != nil {
		return cabundle.Object{}, fmt.Errorf("patch %s: %w", t, err)
	}
	return parse(t.Kind, raw), nil
}

// Disown removes caject from the owners of t's caBundles, so that what others apply does not conflict with it; written is
// the answer to a Patch. It returns the metadata of what is stored then.
func (c *Client) Disown(ctx context.Context, t cabundle.Target, written metav1.ObjectMeta) (metav1.ObjectMeta, error) {
	raw, err := json.Marshal(metav1.PartialObjectMetadata{ObjectMeta: written})
	if err != nil {
		return written, err
	}
	object := cabundle.ParseObject(t.Kind, raw)
	object.Target = t
	patch := cabundle.Disown(cabundle.ParseManagers(raw), FieldManager)
	if len(patch) == 0 {
		return written, nil
	}
	return c.Patch(ctx, object, patch)
}

// Managers returns the managedFields of t, as they are now.
func (c *Client) Managers(ctx context.Context, t cabundle.Target) ([]metav1.ManagedFieldsEntry, error) {
	object, err := metadata(c.rest.Get().AbsPath(path(t)...).SetHeader("Accept", metadataOnly).Do(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t, err)
	}
	return object.ManagedFields, nil
}

// Patch writes patch to object if it is still at its resourceVersion; else the error is a Conflict. It returns the
// metadata of what was written.
func (c *Client) Patch(ctx context.Context, object cabundle.Object, patch []jsonpatch.Operation) (metav1.ObjectMeta, error) {
	guard := jsonpatch.NewOperation("add", "/metadata/resourceVersion", object.ResourceVersion)
	body, err := json.Marshal(append([]jsonpatch.Operation{guard}, patch...))
	if err != nil {
		return metav1.ObjectMeta{}, fmt.Errorf("encode patch of %s: %w", object.Target, err)
	}
	written, err := metadata(c.rest.Patch(types.JSONPatchType).
		AbsPath(path(object.Target)...).
		Param("fieldManager", FieldManager).
		SetHeader("Accept", metadataOnly).
		Body(body).
		Do(ctx))
	if err != nil {
		return metav1.ObjectMeta{}, fmt.Errorf("patch %s: %w", object.Target, err)
	}
	return written, nil
}

// metadata returns the metadata that an answer holds.
func metadata(result rest.Result) (metav1.ObjectMeta, error) {
	raw, err := answer(result)
	if err != nil {
		return metav1.ObjectMeta{}, err
	}
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &object); err != nil {
		return metav1.ObjectMeta{}, fmt.Errorf("read the answer: %w", err)
	}
	return object.ObjectMeta, nil
}

func parse(kind cabundle.Kind, raw []byte) cabundle.Object {
	object := cabundle.ParseObject(kind, raw)
	object.Managers = cabundle.ParseManagers(raw)
	return object
}

// answer returns the body of an answer. (Raw alone drops what the API server says of an error.)
func answer(result rest.Result) ([]byte, error) {
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

func path(t cabundle.Target) []string {
	r := t.Kind.Resource()
	return []string{"apis", r.Group, r.Version, r.Resource, t.Name}
}
