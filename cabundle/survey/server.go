package survey

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
)

// Server is what the API server calls, trusting CABundle: URL, or else a port of a Service.
type Server struct {
	// Webhooks are those of a configuration that name it, with the same caBundle.
	Webhooks []string
	// CABundle is in PEM.
	CABundle []byte
	URL      string
	// Namespace, Name and Port are those of the Service.
	Namespace, Name string
	Port            int64
}

// ServerOf returns whom the API server calls by client, and whom it trusts then.
func ServerOf(client admissionregistrationv1.WebhookClientConfig) Server {
	s := Server{CABundle: client.CABundle, URL: ptr.Deref(client.URL, ""), Port: 443}
	if client.Service != nil {
		s.Namespace, s.Name, s.Port = client.Service.Namespace, client.Service.Name, int64(ptr.Deref(client.Service.Port, 443))
	}
	return s
}

// String names s.
func (s *Server) String() string {
	if s.URL != "" {
		return s.URL
	}
	return fmt.Sprintf("Service %s/%s, port %d", s.Namespace, s.Name, s.Port)
}

// Address returns the host and port in s's URL, and the host alone, for which the certificate has to be.
func (s *Server) Address() (address, host string, err error) {
	parsed, err := url.Parse(s.URL)
	if err != nil || parsed.Scheme != "https" || parsed.Hostname() == "" {
		return "", "", fmt.Errorf("%q is not https://HOST", s.URL)
	}
	return net.JoinHostPort(parsed.Hostname(), cmp.Or(parsed.Port(), "443")), parsed.Hostname(), nil
}

// ServerName returns the name that the certificate has to be for.
func (s *Server) ServerName() string {
	if s.URL != "" {
		_, host, _ := s.Address()
		return host
	}
	return s.Name + "." + s.Namespace + ".svc"
}

// Servers returns what the API server calls for the caBundles of the target that f is about, each once.
func (r *Reader) Servers(ctx context.Context, f Finding) ([]Server, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(f.Kind.GroupVersionKind())
	if err := r.objects.Get(ctx, client.ObjectKey{Name: f.Name}, object); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Target(), err)
	}
	return serversOf(object.Object, f.Object.Fields), nil
}

// serversOf reads them out of an object's content: what stands beside the caBundle.
func serversOf(content map[string]any, fields []cabundle.Field) []Server {
	var servers []Server
	for _, field := range fields {
		// CRDs and APIServices have the same fields there.
		var beside admissionregistrationv1.WebhookClientConfig
		if found, ok := at(content, strings.TrimSuffix(field.Path, "/caBundle")).(map[string]any); ok {
			_ = runtime.DefaultUnstructuredConverter.FromUnstructured(found, &beside) // what is malformed counts as absent
		}
		beside.CABundle = field.CABundle
		server := ServerOf(beside)
		known := slices.IndexFunc(servers, func(other Server) bool {
			return other.String() == server.String() && string(other.CABundle) == string(server.CABundle)
		})
		if known < 0 {
			known = len(servers)
			servers = append(servers, server)
		}
		if field.Webhook != "" {
			servers[known].Webhooks = append(servers[known].Webhooks, Printable(field.Webhook))
		}
	}
	return servers
}

// at returns what stands in content at a JSON pointer, or nil.
func at(content any, pointer string) any {
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch value := content.(type) {
		case map[string]any:
			content = value[step]
		case []any:
			index, err := strconv.Atoi(step)
			if err != nil || index < 0 || index >= len(value) {
				return nil
			}
			content = value[index]
		default:
			return nil
		}
	}
	return content
}

// Endpoint is where a Service leads.
type Endpoint struct {
	// Pod, if it is not empty, is in the Service's namespace, and is reached by way of the API server.
	Pod string
	// Host is the address, and Port the port there.
	Host string
	Port int32
	// Why says why there is no Pod.
	Why string
}

// Endpoint returns a ready endpoint of the Service that s names, or says why there is none.
func (r *Reader) Endpoint(ctx context.Context, s *Server) (Endpoint, error) {
	var service corev1.Service
	switch err := r.objects.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, &service); {
	case apierrors.IsNotFound(err):
		return Endpoint{}, fmt.Errorf("the Service %s/%s does not exist", s.Namespace, s.Name)
	case apierrors.IsForbidden(err):
		return Endpoint{}, fmt.Errorf("you may not read Service %s/%s", s.Namespace, s.Name)
	case err != nil:
		return Endpoint{}, fmt.Errorf("read Service %s/%s: %w", s.Namespace, s.Name, err)
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return Endpoint{Host: service.Spec.ExternalName, Port: int32(s.Port), Why: "the Service is an ExternalName"}, nil
	}
	at := slices.IndexFunc(service.Spec.Ports, func(port corev1.ServicePort) bool { return int64(port.Port) == s.Port })
	if at < 0 {
		return Endpoint{}, fmt.Errorf("the Service %s/%s has no port %d", s.Namespace, s.Name, s.Port)
	}
	var listed discoveryv1.EndpointSliceList
	err := r.objects.List(ctx, &listed, client.InNamespace(s.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: s.Name})
	switch {
	case apierrors.IsForbidden(err):
		return Endpoint{}, fmt.Errorf("you may not list endpointslices in namespace %s", s.Namespace)
	case err != nil:
		return Endpoint{}, fmt.Errorf("list the endpoints of Service %s/%s: %w", s.Namespace, s.Name, err)
	}
	endpoint, ok := readyOf(listed.Items, service.Spec.Ports[at].Name)
	if !ok {
		return Endpoint{}, fmt.Errorf("the Service %s/%s has no ready endpoint", s.Namespace, s.Name)
	}
	return endpoint, nil
}

// readyOf returns the first ready endpoint for the port of a Service with the given name; those with a Pod come first.
func readyOf(all []discoveryv1.EndpointSlice, portName string) (found Endpoint, ok bool) {
	for _, slice := range all {
		port := slices.IndexFunc(slice.Ports, func(p discoveryv1.EndpointPort) bool {
			return p.Port != nil && (p.Name == nil && portName == "" || p.Name != nil && *p.Name == portName)
		})
		if port < 0 {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready
			if ready != nil && !*ready || len(endpoint.Addresses) == 0 {
				continue
			}
			one := Endpoint{Host: endpoint.Addresses[0], Port: *slice.Ports[port].Port, Why: "the endpoint has no Pod"}
			if ref := endpoint.TargetRef; ref != nil && ref.Kind == "Pod" {
				one.Pod, one.Why = ref.Name, ""
				return one, true
			}
			if !ok {
				found, ok = one, true
			}
		}
	}
	return found, ok
}
