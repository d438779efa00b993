package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
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
	"github.com/caject/caject/certs"
	"github.com/caject/caject/internal/health"
	"github.com/caject/caject/webhook"
)

// run works until ctx ends.
func run(ctx context.Context, o *options, logs io.Writer) error {
	logger := setUpLogging(logs, o.loggingFormat, o.verbosity)
	logger.Info("Starting caject", "version", versionString())
	o.warnOfProfiling(logger)
	if !o.serves() {
		logger.Info("No --ca-secret: admission is not served, targets are filled after they were written")
	}
	config, err := loadConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	config.Wrap((&connection{log: logger}).watch)
	mgr, err := newManager(o, config)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	api, err := newClients(mgr)
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	defer api.stopEvents()
	if err := assemble(ctx, o, mgr, api); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return mgr.Start(ctx)
}

// assemble makes the parts, each of those above it, and adds them to mgr.
func assemble(ctx context.Context, o *options, mgr manager.Manager, api *clients) error {
	leader, err := o.lead(mgr.GetConfig(), mgr.GetHTTPClient(), api.events)
	if err != nil {
		return err
	}
	counters := metrics.New(crmetrics.Registry)
	sources := source.NewReader(api.objects, o.scope(), apiServerCA(o.kubeconfig))
	resyncer := resync.New(o.resyncConfig(api.objects, leader), sources, api.targets, api.events, counters, clock.RealClock{})
	leader.OnElected(resyncer.Elected)
	runnables := []manager.Runnable{leader}
	probes := &health.Probes{Live: []healthz.Checker{resyncer.Alive}}

	if o.serves() {
		keeper := newKeeper(o, api.objects, api.targets, api.events, resyncer.Changed)
		resyncer.SetObserver(o.ownChanges(keeper.Wake))
		server, err := o.server(keeper)
		if err != nil {
			return err
		}
		server.Register(webhook.InjectPath, webhook.NewInjector(o.kinds(), o.combine(), sources, counters, clock.RealClock{}))
		if o.hintConfiguration != "" {
			server.Register(webhook.HintPath, webhook.NewHinter(func(ref cabundle.Reference) { resyncer.Hint(ctx, ref) }))
		}
		runnables = append(runnables, keeper, server)
		probes.Live = append(probes.Live, keeper.Alive)
		probes.Ready = append(probes.Ready, keeper.Ready, server.StartedChecker(), server.Ready)
	}
	if o.healthListenAddress != "0" {
		runnables = append(runnables, probes.Server(o.healthListenAddress))
	}
	for _, runnable := range runnables {
		if err := mgr.Add(runnable); err != nil {
			return err
		}
	}
	if err := addMetricsServer(mgr, o, api.objects, api.events); err != nil {
		return err
	}
	if err := crmetrics.Registry.Register(resyncer); err != nil {
		return err
	}
	return resyncer.SetupWithManager(afterElection{mgr, leader.Acquired()})
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
func newKeeper(o *options, reader client.Client, targets *target.Client, events record.EventRecorder, changed func(cabundle.Reference)) *certs.Keeper {
	return certs.NewKeeper(certs.Options{
		Secret:         o.caSecretName(),
		Configurations: o.ownConfigurations(),
		Names:          o.servingNames,
		CALifetime:     o.caLifetime,
		LeafLifetime:   o.leafLifetime,
		TrustDelay:     o.trustDelay,
		Events:         events,
		Changed:        changed,
	}, reader, targets, clock.RealClock{})
}
