package load

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// peer is what cainjector has done.
type peer struct {
	rows []row
	peak int64 // the most memory of its own (RssAnon, in bytes)
}

// runPeer has cainjector, in a cluster of its own, do the parts that it does as well. It is not held to what the census says: it
// puts a new CA in the place of the former one.
func runPeer(ctx context.Context, o Options) (p peer, err error) {
	if o.Cainjector == "" {
		return peer{}, nil
	}
	dir, err := os.MkdirTemp("", "caject-load-")
	if err != nil {
		return peer{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err := playground.Root()
	if err != nil {
		return peer{}, err
	}
	control, err := playground.StartControlPlane(root, dir)
	if err != nil {
		return peer{}, err
	}
	defer func() { err = errors.Join(err, control.Stop()) }()
	admin, kubeconfig, err := installPeer(ctx, control)
	if err != nil {
		return peer{}, err
	}
	process, err := playground.StartProcess([]string{o.Cainjector, "--kubeconfig=" + kubeconfig}, 0, filepath.Join(dir, "cainjector.log"))
	if err != nil {
		return peer{}, err
	}
	defer func() { err = errors.Join(err, process.Stop()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLoad(ctx, o, admin)
	l.processes = func() []*playground.Process { return []*playground.Process{process} }
	l.healthy = l.census.WaitRight
	p.peak, err = l.do(ctx, l.fill, l.create, l.rotate, l.largeFilled)
	p.rows = l.rows
	return p, err
}

// installPeer installs what cainjector needs. It returns a client of the admin, and the kubeconfig for cainjector.
func installPeer(ctx context.Context, control *playground.ControlPlane) (admin client.WithWatch, kubeconfig string, err error) {
	config := rest.CopyConfig(control.Config)
	config.WarningHandler = rest.NoWarnings{}
	if admin, err = playground.NewClient(config); err != nil {
		return nil, "", err
	}
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: trial.Namespace}}); err != nil {
		return nil, "", err
	}
	kubeconfig, err = playground.InstallCainjector(ctx, control)
	return admin, kubeconfig, err
}
