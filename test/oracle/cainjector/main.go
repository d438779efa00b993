// Command cainjector runs the controllers of cert-manager's cainjector, with the manager options of its own binary
// (which is in a module that cannot be imported), and the flags that its chart and the tests pass.
package main

import (
	"errors"
	goflag "flag"
	"fmt"
	"os"
	"time"

	"github.com/cert-manager/cert-manager/pkg/client/clientset/versioned/scheme"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/util"
	"github.com/cert-manager/cert-manager/pkg/util/feature"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cainjector:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var (
		kubeconfig, leaderNamespace, metricsAddress string
		gates                                       map[string]bool
		verbosity                                   int
		leaderElect                                 bool
	)
	options := cainjector.SetupOptions{EnabledReconcilersFor: map[string]bool{}}
	flags := pflag.NewFlagSet("cainjector", pflag.ContinueOnError)
	flags.StringVar(&kubeconfig, "kubeconfig", "", "")
	flags.StringVar(&options.Namespace, "namespace", "", "")
	flags.StringSliceVar(&options.IgnoreNamespaces, "ignore-namespaces", nil, "")
	flags.BoolVar(&options.EnableCertificatesDataSource, "enable-certificates-data-source", true, "")
	enabled := map[string]*bool{}
	for _, kind := range []string{
		cainjector.MutatingWebhookConfigurationName, cainjector.ValidatingWebhookConfigurationName,
		cainjector.CustomResourceDefinitionName, cainjector.APIServiceName,
	} {
		enabled[kind] = flags.Bool("enable-"+kind+"s-injectable", true, "")
	}
	flags.BoolVar(&leaderElect, "leader-elect", true, "")
	flags.StringVar(&leaderNamespace, "leader-election-namespace", "kube-system", "")
	flags.StringVar(&metricsAddress, "metrics-listen-address", "0", "")
	flags.Var(flag.NewMapStringBool(&gates), "feature-gates", "")
	flags.IntVar(&verbosity, "v", 2, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for kind, on := range enabled {
		options.EnabledReconcilersFor[kind] = *on
	}
	if err := feature.DefaultMutableFeatureGate.SetFromMap(gates); err != nil {
		return err
	}
	ctrl.SetLogger(klog.Background())

	// Unlike client-go, this one does not limit its requests.
	var kubeconfigFlag goflag.FlagSet
	ctrlconfig.RegisterFlags(&kubeconfigFlag)
	if err := kubeconfigFlag.Set("kubeconfig", kubeconfig); err != nil {
		return err
	}
	config, err := ctrlconfig.GetConfig()
	if err != nil {
		return err
	}
	types := runtime.NewScheme()
	if err := errors.Join(
		clientgoscheme.AddToScheme(types), scheme.AddToScheme(types),
		apiextensionsv1.AddToScheme(types), apiregistrationv1.AddToScheme(types),
	); err != nil {
		return err
	}
	var namespaces map[string]cache.Config
	if options.Namespace != "" {
		namespaces = map[string]cache.Config{options.Namespace: {}}
	}
	lease, deadline, retry := 60*time.Second, 40*time.Second, 15*time.Second
	mgr, err := ctrl.NewManager(util.RestConfigWithUserAgent(config, "cainjector"), ctrl.Options{
		Scheme:                        types,
		Cache:                         cache.Options{ReaderFailOnMissingInformer: true, DefaultNamespaces: namespaces},
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		LeaderElection:                leaderElect,
		LeaderElectionNamespace:       leaderNamespace,
		LeaderElectionID:              "cert-manager-cainjector-leader-election",
		LeaderElectionReleaseOnCancel: true,
		LeaderElectionResourceLock:    resourcelock.LeasesResourceLock,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &deadline,
		RetryPeriod:                   &retry,
		Metrics:                       metricsserver.Options{BindAddress: metricsAddress},
	})
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	if err := cainjector.RegisterAllInjectors(ctx, mgr, options); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
