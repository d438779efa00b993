package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Service is what is found of a Service that targets name.
type Service struct {
	Exists bool
	// Ready is whether the API server can reach anything through it. That of a Service which is another name for a host is not known,
	// and counts as ready.
	Ready bool
}

// Services reads the Services that findings name, by namespace/name; those that the caller may not read are missing, and gaps say so,
// once for each namespace.
func (r *Reader) Services(ctx context.Context, findings []Finding) (services map[string]Service, gaps []string, err error) {
	var mu sync.Mutex
	services = map[string]Service{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, named := range servicesOf(findings) {
		group.Go(func() error {
			service, err := r.service(ctx, named)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case apierrors.IsForbidden(err):
				namespace, _, _ := strings.Cut(named, "/")
				gaps = append(gaps, fmt.Sprintf("you may not read Services and EndpointSlices in namespace %s: whether those that are called there work is not known", namespace))
			case err != nil:
				return fmt.Errorf("read Service %s: %w", named, err)
			default:
				services[named] = service
			}
			return nil
		})
	}
	err = group.Wait()
	slices.Sort(gaps)
	return services, slices.Compact(gaps), err
}

// servicesOf returns what the targets of findings name, each once.
func servicesOf(findings []Finding) []string {
	var names []string
	for i := range findings {
		for _, field := range findings[i].Object.Fields {
			if field.Service != "" {
				names = append(names, field.Service)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (r *Reader) service(ctx context.Context, named string) (Service, error) {
	var service corev1.Service
	var key client.ObjectKey
	key.Namespace, key.Name, _ = strings.Cut(named, "/")
	if err := r.objects.Get(ctx, key, &service); err != nil {
		return Service{}, client.IgnoreNotFound(err)
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return Service{Exists: true, Ready: true}, nil
	}
	var slicesOf discoveryv1.EndpointSliceList
	if err := r.objects.List(ctx, &slicesOf, client.InNamespace(key.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: key.Name}); err != nil {
		return Service{}, err
	}
	return Service{Exists: true, Ready: slices.ContainsFunc(slicesOf.Items, hasReady)}, nil
}

// hasReady reports whether an endpoint of slice is ready; one that does not say counts as such, as the API has it.
func hasReady(slice discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.Endpoints, func(endpoint discoveryv1.Endpoint) bool {
		return endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
	})
}
