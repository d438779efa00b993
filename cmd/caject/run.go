package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/ledger"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/publish"
	"github.com/caject/caject/cabundle/resync"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/certs"
	"github.com/caject/caject/internal/health"
	"github.com/caject/caject/webhook"
)

// run works until ctx ends.
func run(ctx context.Context, o *options, logs io.Writer) error {
	logger := setUpLogging(logs, o.loggingFormat, o.verbosity)
	logger.Info("Starting caject", "version", moduleVersion())
	o.warnOfProfiling(logger)
	if !o.serves() {
		logger.Info("No --ca-secret: admission is not served, targets are filled after they were written")
	}
	if err := noticeSilence(); err != nil {
		return err
	}
	config, err := loadConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	link := newConnection(logger, clock.RealClock{})
	config.Wrap(link.watch)
	serverClock := certs.NewServerClock(clock.RealClock{})
	config.Wrap(serverClock.Wrap)
	mgr, err := newManager(o, config)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	api, err := newClients(mgr, serverClock, link)
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	defer api.stopEvents()
	if err := assemble(o, mgr, api); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return mgr.Start(ctx)
}

// assemble makes the parts, each of those above it, and adds them to mgr.
func assemble(o *options, mgr manager.Manager, api *clients) error {
	leader, err := o.lead(mgr.GetConfig(), mgr.GetHTTPClient(), api)
	if err != nil {
		return err
	}
	counters := metrics.New(crmetrics.Registry)
	sources := cluster.NewSources(api.objects, o.scope(), apiServerCA(o.kubeconfig))
	book := ledger.New(ledger.Options{Interval: o.resyncInterval, Rules: o.rules()}, sources, counters, clock.RealClock{})
	keeper := newKeeper(o, api, book.Changed)
	server, err := o.server(keeper, counters.HandshakeFailed)
	if err != nil {
		return err
	}
	resyncer := resync.New(o.resyncConfig(leader, keeper, server), book, api.targets, o.targetRecorder(api), counters, clock.RealClock{})
	leader.OnElected(resyncer.Elected)

	probes := &health.Probes{Live: []healthz.Checker{book.Alive, resyncer.Alive}, Ready: []healthz.Checker{api.connection.Ready}}
	always := append(o.suggestions(api, counters, mgr.GetLogger()), leader)
	elected := []manager.Runnable{book, resyncer} // they wait for an election, if only the elected works
	for _, watch := range resyncer.Watches(api.watcher) {
		elected = append(elected, watch)
	}
	ahead := func(cabundle.Reference) {}
	if o.publishes() {
		publisher := publish.New(o.publishConfig(leader), cluster.NewBundles(api.objects), book, resyncer, o.targetRecorder(api), clock.RealClock{})
		resyncer.SetPublisher(publisher)
		crmetrics.Registry.MustRegister(publisher)
		elected = append(elected, publisher, api.watcher.WatchBundles(publisher))
		elected = append(elected, keepShards(o.shards(), publisher, book, api)...)
		probes.Live = append(probes.Live, publisher.Alive)
		ahead = publisher.Hinted
	}
	if server != nil {
		server.Register(webhook.InjectPath, webhook.NewInjector(o.kinds(), book, sources, counters, clock.RealClock{}))
		if o.hintConfiguration != "" {
			server.Register(webhook.HintPath, webhook.NewHinter(book.Hint, ahead))
		}
		always = append(always, keeper, server)
		probes.Live = append(probes.Live, keeper.Alive)
		probes.Ready = append(probes.Ready, keeper.Ready, server.StartedChecker(), server.Ready)
	}
	if o.healthListenAddress != "0" {
		always = append(always, probes.Server(o.healthListenAddress))
	}
	if err := addMetricsServer(mgr, o, api); err != nil {
		return err
	}
	registerStates(crmetrics.Registry, leader, keeper, server != nil, probes, resyncer)
	return add(mgr, always, elected, leader.Acquired())
}

// keepShards has what publisher publishes kept in shards, and book know them. It returns what must run for that.
func keepShards(options shards.Options, publisher *publish.Publisher, book *ledger.Ledger, api *clients) []manager.Runnable {
	store := shards.New(options, cluster.NewShards(api.objects, options.Namespace), clock.RealClock{}, publisher.Stored)
	watch := api.watcher.WatchShards(options, store)
	store.SetListed(watch.Synced)
	publisher.SetStore(store)
	book.SetRecall(publisher.History)
	return []manager.Runnable{watch, store}
}

// newManager returns the manager that runs the parts. It asks the API server nothing before it starts.
func newManager(o *options, config *rest.Config) (manager.Manager, error) {
	return ctrl.NewManager(config, manager.Options{
		Scheme:         newScheme(),
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return newMapper(), nil },
		// Nothing is cached; what asks for a cache by mistake is refused.
		Cache:            cache.Options{ReaderFailOnMissingInformer: true},
		Metrics:          metricsserver.Options{BindAddress: "0"}, // see addMetricsServer
		PprofBindAddress: o.profilerBindAddress(),
	})
}

// newKeeper returns what looks after our serving certificate, and calls changed when its CA has changed.
func newKeeper(o *options, api *clients, changed func(cabundle.Reference)) *certs.Keeper {
	return certs.NewKeeper(certs.Options{
		Secret:         o.caSecretName(),
		Configurations: o.ownConfigurations(),
		Names:          o.servingNames,
		CALifetime:     o.caLifetime,
		LeafLifetime:   o.leafLifetime,
		TrustDelay:     o.trustDelay,
		Clock:          api.serverClock,
		Events:         api.events,
		Changed:        changed,
	}, api.objects, api.targets, clock.RealClock{})
}
