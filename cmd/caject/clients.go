package main

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/certs"
)

// clients are the ways to the API server. They share the manager's connections.
type clients struct {
	// objects has no cache behind it: a GET of a Secret is a GET, and never starts a watch.
	objects client.Client
	targets *cluster.Targets
	watcher *cluster.Watcher
	// events writes Events of core/v1: the recorder of events.k8s.io counts a second Event with the same reason as the first one
	// again, and drops what it says.
	events     record.EventRecorder
	stopEvents func()
	// serverClock knows how far our clock and the API server's are apart.
	serverClock *certs.ServerClock
	// connection knows whether the API server answers, and takes caject's token.
	connection *connection
	// discovery knows what the API server serves.
	discovery *discovery.DiscoveryClient
}

func newClients(mgr manager.Manager, serverClock *certs.ServerClock, c *connection) (*clients, error) {
	config, httpClient := mgr.GetConfig(), mgr.GetHTTPClient()
	objects, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, err
	}
	targets, err := cluster.NewTargets(config, httpClient)
	if err != nil {
		return nil, err
	}
	watcher, err := cluster.NewWatcher(config, httpClient, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	events, err := corev1client.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	discovered, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: events.Events("")})
	recorder := broadcaster.NewRecorder(mgr.GetScheme(), corev1.EventSource{Component: "caject"})
	return &clients{
		objects: objects, targets: targets, watcher: watcher,
		events: recorder, stopEvents: broadcaster.Shutdown, serverClock: serverClock, connection: c, discovery: discovered,
	}, nil
}

// targetRecorder records Events on targets and CABundles, or drops them.
func (o *options) targetRecorder(c *clients) record.EventRecorder {
	if o.targetEvents {
		return c.events
	}
	return &record.FakeRecorder{}
}

// newScheme knows the types that are read or written as such, and Leases, which have Events. Targets are read as JSON or as
// metadata.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.Secret{}, &corev1.PodTemplate{}, &corev1.Namespace{})
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	scheme.AddKnownTypes(authenticationv1.SchemeGroupVersion, &authenticationv1.SelfSubjectReview{})
	metav1.AddToGroupVersion(scheme, authenticationv1.SchemeGroupVersion)
	scheme.AddKnownTypes(coordinationv1.SchemeGroupVersion, &coordinationv1.Lease{})
	_ = v1alpha1.AddToScheme(scheme) // it cannot fail
	return scheme
}

// newMapper knows the few kinds that caject deals with, so that nothing has to be asked of the API server at start,
// and a kind that is not served (yet) holds up nothing.
func newMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("PodTemplate"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	mapper.Add(cluster.CertificateKind, meta.RESTScopeNamespace)
	mapper.Add(v1alpha1.GroupVersion.WithKind("CABundle"), meta.RESTScopeRoot)
	for _, kind := range cabundle.Kinds() {
		mapper.Add(kind.GroupVersionKind(), meta.RESTScopeRoot)
	}
	return mapper
}
