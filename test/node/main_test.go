package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// rig is a node on which caject runs as pods, with sources and targets.
type rig struct {
	*Node
	client     client.WithWatch // the admin's
	census     *trial.Census
	population *trial.Population
}

// cluster is what all tests work with, one after the other. Each leaves caject as it found it, installed and well.
var cluster *rig

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// runTests starts the node. NODE_FAMILY is IPv4 or IPv6.
func runTests(m *testing.M) (code int, err error) {
	if err := Enter(); err != nil {
		return 1, err
	}
	family := Family(os.Getenv("NODE_FAMILY"))
	if family == "" {
		family = IPv4
	}
	if _, ok := networks[family]; !ok {
		return 1, fmt.Errorf("NODE_FAMILY is %s, not IPv4 or IPv6", family)
	}
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	root, err := playground.Root()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "caject-node-")
	if err != nil {
		return 1, err
	}
	clean := func() error { return errors.Join(forget(dir), os.RemoveAll(dir)) }
	defer func() { err = errors.Join(err, clean()) }()
	go func() {
		<-ctx.Done() // somebody gives up
		_ = clean()
		os.Exit(1)
	}()
	began := time.Now()
	node, err := Start(ctx, root, dir, family)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, node.CutPower(), node.ControlPlane.Stop()) }()
	fmt.Printf("The node is ready after %.1f s.\n", time.Since(began).Seconds())
	if cluster, err = newRig(ctx, node); err != nil {
		return 1, err
	}
	if code = m.Run(); code != 0 {
		cluster.explain()
	}
	return code, nil
}

const (
	sources = 5
	// interval is the chart's resyncInterval.
	interval = 30 * time.Second
)

// newRig installs the chart as it is, in a namespace that admits restricted pods only, and makes sources and targets.
func newRig(ctx context.Context, node *Node) (*rig, error) {
	config := rest.CopyConfig(node.Config)
	config.WarningHandler = rest.NoWarnings{}
	admin, err := playground.NewClient(config)
	if err != nil {
		return nil, err
	}
	census := trial.NewCensus(admin)
	r := &rig{Node: node, client: admin, census: census, population: trial.NewPopulation(census, admin)}
	for name, labels := range map[string]map[string]string{
		playground.Namespace: {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"},
		trial.Namespace:      nil,
	} {
		if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	if err := r.Install(ctx); err != nil {
		return nil, errors.Join(err, r.described(ctx))
	}
	fmt.Printf("helm install --wait took %.1f s.\n", time.Since(began).Seconds())
	go census.Run(ctx)
	for n := range sources {
		if err := r.population.AddSource(ctx, source(n)); err != nil {
			return nil, err
		}
		for kind := range trial.Kinds {
			if _, err := r.population.AddTarget(ctx, kind, source(n)); err != nil {
				return nil, err
			}
		}
	}
	return r, r.right(ctx)
}

func source(n int) string { return fmt.Sprintf("source%d", n) }

func (r *rig) chart() string { return filepath.Join(r.Root, "charts", "caject") }

// right returns once all targets hold what their sources do now.
func (r *rig) right(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.census.WaitRight(ctx, r.population.Targets())
}

// rotate gives each source another CA.
func (r *rig) rotate(ctx context.Context) error {
	for n := range sources {
		if err := r.population.Rotate(ctx, source(n)); err != nil {
			return err
		}
	}
	return nil
}

// upgrade sets values of the chart, all others being the defaults, and returns once that is rolled out.
func (r *rig) upgrade(ctx context.Context, values ...string) error {
	return r.upgradeTo(ctx, 2, values...)
}

// upgradeTo is upgrade for values with another number of replicas.
func (r *rig) upgradeTo(ctx context.Context, replicas int, values ...string) error {
	// kubectl may have scaled the Deployment before, and owns the number then.
	if _, err := r.Helm(ctx, append(r.upgradeArgs(values...), "--force-conflicts", "--wait", "--timeout", patience.String())...); err != nil {
		return errors.Join(err, r.described(ctx))
	}
	return r.settled(ctx, replicas)
}

// upgradeArgs are helm's.
func (r *rig) upgradeArgs(values ...string) []string {
	args := []string{"upgrade", "--install", "--reset-values", "caject", r.chart(), "--namespace", playground.Namespace}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return args
}

// described returns what kubectl says of the pods, as an error.
func (r *rig) described(ctx context.Context) error {
	out, err := r.Kubectl(ctx, "", "--namespace", playground.Namespace, "describe", "pods")
	return errors.Join(err, errors.New(out.Stdout))
}

// explain prints what is left to look at after a failure.
func (r *rig) explain() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "--output", "wide"},
		{"get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"},
		{"--namespace", playground.Namespace, "logs", "--selector", selector, "--tail", "100", "--prefix"},
	} {
		out, err := r.Kubectl(ctx, "", args...)
		fmt.Println(out.Stdout, err)
	}
}
