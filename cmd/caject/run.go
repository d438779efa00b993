package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/resync"
	"github.com/caject/caject/cabundle/source"
	"github.com/caject/caject/cabundle/target"
	"github.com/caject/caject/cabundle/v1alpha1"
	"github.com/caject/caject/certs"
	"github.com/caject/caject/webhook"
)

// run puts the parts together and works until ctx ends.
func run(ctx context.Context, o *options, logs io.Writer) error {
	logger := setUpLogging(logs, o.loggingFormat, o.verbosity)
	logger.Info("Starting caject", "version", versionString())

	o.warnOfProfiling(logger)
	config, err := loadConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	config.Wrap((&connection{log: logger}).watch)
	serverClock := certs.NewServerClock(clock.RealClock{})
	config.Wrap(serverClock.Wrap)
	mgr, err := newManager(o, config)
	if err != nil {
		return err
	}
	// This client has no cache behind it: a GET of a Secret is a GET, and never starts a watch.
	reader, err := client.New(config, client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	targets, err := target.NewClient(config, mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	counters := metrics.New(crmetrics.Registry)
	sources := source.NewReader(reader, o.scope(), apiServerCA(o.kubeconfig))
	recorder, stopEvents, err := newEventRecorder(config, mgr)
	if err != nil {
		return err
	}
	defer stopEvents()

	loopOptions := resync.Options{
		Interval:       o.resyncInterval,
		Kinds:          o.kinds(),
		Combine:        o.combine(),
		LeaderElection: o.elects(),
		RetireAfter:    o.retireAfter,
		Policy:         o.policy,
		Webhook:        o.serves(),
	}
	if o.publish {
		loopOptions.Publish = reader
	}
	shared := &shared{
		options: o, config: config, manager: mgr, client: reader, targets: targets, sources: sources, events: recorder, metrics: counters,
		serverClock: serverClock,
	}
	var live, ready []healthz.Checker
	if o.serves() {
		if live, ready, err = shared.serve(ctx, &loopOptions); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	} else {
		logger.Info("No --ca-secret: admission is not served, targets are filled after they were written")
	}
	loop := resync.New(loopOptions, sources, targets, recorder, counters, clock.RealClock{})
	shared.loop = loop
	if err := errors.Join(
		crmetrics.Registry.Register(loop),
		loop.SetupWithManager(mgr),
		addHealthServer(mgr, o.healthListenAddress, append(live, loop.Alive), ready),
		addMetricsServer(mgr, o, reader, recorder, serverClock),
	); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return mgr.Start(ctx)
}

// shared is what the parts have in common.
type shared struct {
	options     *options
	config      *rest.Config
	manager     manager.Manager
	client      client.Client // not backed by a cache
	targets     *target.Client
	sources     *source.Reader
	events      record.EventRecorder
	metrics     *metrics.Metrics
	serverClock *certs.ServerClock
	loop        *resync.Resync // set before the manager starts
}

// serve adds what serves admission: its certificate, the server, and the election of the replica that acts at once. It sets
// in o what resync has to know of them, and returns what /livez and /readyz ask.
func (s *shared) serve(ctx context.Context, o *resync.Options) (live, ready []healthz.Checker, err error) {
	// Each tells the other: the keeper that the CA has changed, resync that our configuration has.
	keeper := newKeeper(s.options, s.client, s.targets, s.events, s.serverClock, func(ref cabundle.Reference) { s.loop.Changed(ref) })
	o.Own = s.options.ownConfigurations()
	o.Observe = func(t cabundle.Target) {
		if slices.Contains(o.Own, t) {
			keeper.Wake()
		}
	}
	admission, err := newWebhookServer(s.options, keeper)
	if err != nil {
		return nil, nil, err
	}
	server := &drainingServer{Server: admission}
	server.Register(webhook.InjectPath, webhook.NewHandler(webhook.NewInjector(s.options.kinds(), s.options.combine(), s.sources, s.metrics, clock.RealClock{})))
	if s.options.hintConfiguration != "" {
		server.Register(webhook.HintPath, webhook.NewHandler(webhook.NewHinter(func(ref cabundle.Reference) { s.loop.Hint(ctx, ref) })))
	}
	if s.options.leaderElection.enabled {
		lead, err := newLeader(s.options, s.config, s.manager.GetHTTPClient())
		if err != nil {
			return nil, nil, err
		}
		lead.elected = func() { s.loop.Elected() }
		o.Leads = lead.Leads
		if err := s.manager.Add(lead); err != nil {
			return nil, nil, err
		}
	}
	live, ready = []healthz.Checker{keeper.Alive}, []healthz.Checker{keeper.Ready, server.StartedChecker(), server.Ready}
	return live, ready, errors.Join(s.manager.Add(keeper), s.manager.Add(server))
}

// leaseName is that of cert-manager's cainjector, so that of both, while one takes over from the other, only one works.
const leaseName = "cert-manager-cainjector-leader-election"

// newManager returns the manager that runs the parts. It asks the API server nothing before it starts.
func newManager(o *options, config *rest.Config) (manager.Manager, error) {
	mgr, err := ctrl.NewManager(config, manager.Options{
		Scheme:         newScheme(),
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return newMapper(), nil },
		// Nothing is cached; what asks for a cache by mistake is refused.
		Cache:            cache.Options{ReaderFailOnMissingInformer: true},
		Metrics:          metricsserver.Options{BindAddress: "0"}, // see addMetricsServer
		PprofBindAddress: o.profilerBindAddress(),

		LeaderElection:                o.elects(),
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.leaderElection.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.leaderElection.leaseDuration,
		RenewDeadline:                 &o.leaderElection.renewDeadline,
		RetryPeriod:                   &o.leaderElection.retryPeriod,
	})
	if err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	return mgr, nil
}

// newEventRecorder returns what writes Events. It is that of core/v1: the one of events.k8s.io counts a second Event
// with the same reason as the first one again, and drops what it says.
func newEventRecorder(config *rest.Config, mgr manager.Manager) (_ record.EventRecorder, stop func(), _ error) {
	events, err := corev1client.NewForConfigAndClient(config, mgr.GetHTTPClient())
	if err != nil {
		return nil, nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: events.Events("")})
	return broadcaster.NewRecorder(mgr.GetScheme(), corev1.EventSource{Component: "caject"}), broadcaster.Shutdown, nil
}

// newKeeper returns what looks after our serving certificate, and calls changed when its CA has changed.
func newKeeper(o *options, reader client.Client, targets *target.Client, events record.EventRecorder, serverClock *certs.ServerClock, changed func(cabundle.Reference)) *certs.Keeper {
	return certs.NewKeeper(certs.Options{
		Secret:         o.caSecretName(),
		Configurations: o.ownConfigurations(),
		Names:          o.servingNames,
		CALifetime:     o.caLifetime,
		LeafLifetime:   o.leafLifetime,
		TrustDelay:     o.trustDelay,
		Clock:          serverClock,
		Events:         events,
		Changed:        changed,
	}, reader, targets, clock.RealClock{})
}

// newScheme knows the types that are read as such, Secrets and CABundles, and Leases, which have Events. Targets are read as
// JSON or as metadata.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.Secret{})
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	scheme.AddKnownTypes(coordinationv1.SchemeGroupVersion, &coordinationv1.Lease{})
	_ = v1alpha1.AddToScheme(scheme) // it cannot fail
	return scheme
}

// newMapper knows the few kinds that caject deals with, so that nothing has to be asked of the API server at start,
// and a kind that is not served (yet) holds up nothing.
func newMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	mapper.Add(source.CertificateKind, meta.RESTScopeNamespace)
	mapper.Add(v1alpha1.GroupVersion.WithKind("CABundle"), meta.RESTScopeRoot)
	for _, kind := range cabundle.Kinds() {
		mapper.Add(kind.GroupVersionKind(), meta.RESTScopeRoot)
	}
	return mapper
}
