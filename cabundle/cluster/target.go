package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tidwall/gjson"
	"gomodules.xyz/jsonpatch/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/caject/caject/cabundle"
)

const (
	// FieldManager is the name under which caject writes. Its own webhook is not called then, as the chart's match conditions say: it would only
	// read the source once more, and what is written must not wait for a webhook that is not reached.
	FieldManager = cabundle.FieldManager
	// policyFieldManager is the name under which caject has a target admitted again without its own webhook being called. It never owns
	// anything, for nothing is applied under it.
	policyFieldManager = "caject-policy"
	// webhookFieldManager is the one under which it has a target admitted again for its own webhook to fill. Nor does this own anything.
	webhookFieldManager = "caject-webhook"
)

// CainjectorFieldManagers returns the names under which cert-manager's cainjector writes, and has written in former versions
// (cert-manager/cert-manager#4838). An object may have entries of both, and of each one by Update and one by Apply.
func CainjectorFieldManagers() []string { return []string{"cert-manager-cainjector", "cainjector"} }

// metadataOnly asks the API server to answer with the object's metadata alone.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// Targets reads and patches targets. It works on their JSON, so that a CRD of megabytes is never turned into Go objects.
// The errors are those of the API machinery (apierrors.IsNotFound and so on), and name the target.
type Targets struct {
	rest rest.Interface
}

// NewTargets returns the Targets of the API server of config.
func NewTargets(config *rest.Config, httpClient *http.Client) (*Targets, error) {
	config = rest.CopyConfig(config)
	config.ContentType = "application/json"
	config.AcceptContentTypes = "application/json"
	config.NegotiatedSerializer = serializer.WithoutConversionCodecFactory{CodecFactory: scheme.Codecs}
	c, err := rest.UnversionedRESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	return &Targets{rest: c}, nil
}

// Get reads target, with its Managers.
func (t *Targets) Get(ctx context.Context, target cabundle.Target, freshness Freshness) (cabundle.Object, error) {
	request := t.rest.Get().AbsPath(path(target)...)
	if version := freshness.Options().ResourceVersion; version != "" {
		request.Param("resourceVersion", version)
	}
	raw, err := answer(request.Do(ctx))
	if err != nil {
		return cabundle.Object{}, fmt.Errorf("read %s: %w", target, err)
	}
	return parse(target.Kind, raw), nil
}

// Readmit has target admitted again as it is: admission writes what it has to change, and nothing is written if that is
// nothing. byPolicy leaves out caject's own webhook. It returns what is stored then.
func (t *Targets) Readmit(ctx context.Context, target cabundle.Target, byPolicy bool) (cabundle.Object, error) {
	manager := webhookFieldManager
	if byPolicy {
		manager = policyFieldManager
	}
	raw, err := answer(t.rest.Patch(types.MergePatchType).
		AbsPath(path(target)...).
		Param("fieldManager", manager).
		Body([]byte("{}")).
		Do(ctx))
	if err != nil {
		return cabundle.Object{}, fmt.Errorf("patch %s: %w", target, err)
	}
	return parse(target.Kind, raw), nil
}

// Called reports whether the API server reaches caject's webhook when target, of a kind that is admitted and annotated, is admitted: it is
// admitted in a dry run. Nothing is written.
func (t *Targets) Called(ctx context.Context, target cabundle.Target) (bool, error) {
	result := t.rest.Patch(types.MergePatchType).
		AbsPath(path(target)...).
		Param("fieldManager", cabundle.ProbeFieldManager).
		Param("dryRun", metav1.DryRunAll).
		SetHeader("Accept", metadataOnly).
		WarningHandlerWithContext(rest.NoWarnings{}). // the answer is one
		Body([]byte("{}")).
		Do(ctx)
	if err := result.Error(); err != nil {
		return false, fmt.Errorf("patch %s in a dry run: %w", target, err)
	}
	return slices.ContainsFunc(result.Warnings(), func(w net.WarningHeader) bool { return w.Text == cabundle.ProbeAnswer }), nil
}

// Disown removes injectors, by field manager, from the owners of object's caBundles, so that what others apply does not conflict
// with them; the values stay. Of object, as it was read or written, Target, ResourceVersion and Managers count. It returns the
// metadata of what is stored then: object itself if there is nothing to remove.
func (t *Targets) Disown(ctx context.Context, object cabundle.Object, injectors ...string) (cabundle.Object, error) {
	patch := cabundle.Disown(object.Managers, injectors...)
	if len(patch) == 0 {
		return object, nil
	}
	return t.Patch(ctx, object, patch)
}

// Managers returns the managers of target, as they are now.
func (t *Targets) Managers(ctx context.Context, target cabundle.Target) ([]cabundle.Manager, error) {
	raw, err := answer(t.rest.Get().AbsPath(path(target)...).SetHeader("Accept", metadataOnly).Do(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", target, err)
	}
	return cabundle.ParseManagers(target.Kind, raw), nil
}

// Patch writes patch to object if it is still at its resourceVersion; else the error is a Conflict, or Invalid if what patch names is not
// there any more. It returns the metadata of what was written, with its Managers.
func (t *Targets) Patch(ctx context.Context, object cabundle.Object, patch []jsonpatch.Operation) (cabundle.Object, error) {
	guard := jsonpatch.NewOperation("add", "/metadata/resourceVersion", object.ResourceVersion)
	body, err := json.Marshal(append([]jsonpatch.Operation{guard}, patch...))
	if err != nil {
		return cabundle.Object{}, fmt.Errorf("encode patch of %s: %w", object.Target, err)
	}
	raw, err := answer(t.rest.Patch(types.JSONPatchType).
		AbsPath(path(object.Target)...).
		Param("fieldManager", FieldManager).
		SetHeader("Accept", metadataOnly).
		Body(body).
		Do(ctx))
	if err != nil {
		return cabundle.Object{}, fmt.Errorf("patch %s: %w", object.Target, err)
	}
	return parse(object.Kind, raw), nil
}

func parse(kind cabundle.Kind, raw []byte) cabundle.Object {
	object := cabundle.ParseObject(kind, raw)
	object.Managers = cabundle.ParseManagers(kind, raw)
	object.Created, _ = time.Parse(time.RFC3339, gjson.GetBytes(raw, "metadata.creationTimestamp").String())
	return object
}

// answer returns the body of an answer. (Raw alone drops what the API server says of an error.)
func answer(result rest.Result) ([]byte, error) {
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

func path(target cabundle.Target) []string {
	r := target.Kind.Resource()
	return []string{"apis", r.Group, r.Version, r.Resource, target.Name}
}
