package playground

import (
	"errors"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Twin is a second kube-apiserver on the etcd of a ControlPlane: what one of them has stored, the other one learns of a little
// later, and each evaluates admission policies for itself. Its log is kube-apiserver-twin.log in the control plane's folder.
type Twin struct {
	// Config is its admin's.
	Config *rest.Config

	apiServer *envtest.APIServer
}

// StartTwin starts one. The tokens of the first API server are not valid there, so caject goes on using the first.
func (c *ControlPlane) StartTwin() (*Twin, error) {
	certDir := filepath.Join(c.Dir, "twin")
	if err := os.MkdirAll(certDir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(c.Dir, "kube-apiserver-twin.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	first := c.env.ControlPlane.GetAPIServer()
	twin := &Twin{apiServer: &envtest.APIServer{
		EtcdURL: c.env.ControlPlane.Etcd.URL, CertDir: certDir, Path: first.Path,
		StartTimeout: first.StartTimeout, StopTimeout: first.StopTimeout, Out: log, Err: log,
	}}
	// Both are at the same address, and would dispute the endpoints of the Service kubernetes.
	twin.apiServer.Configure().Set("endpoint-reconciler-type", "none")
	if err := twin.apiServer.Start(); err != nil {
		return nil, err
	}
	base := &rest.Config{Host: twin.apiServer.SecureServing.URL("https", "").String(), TLSClientConfig: rest.TLSClientConfig{CAData: twin.apiServer.CA}}
	admin := envtest.User{Name: "admin", Groups: []string{"system:masters"}}
	if twin.Config, err = twin.apiServer.Authn.AddUser(admin, base); err != nil {
		return nil, errors.Join(err, twin.Stop())
	}
	return twin, nil
}

// Stop ends it as a power cut would: asked to end, it waits for a minute for those who watch.
func (t *Twin) Stop() error {
	return kill("--cert-dir="+t.apiServer.CertDir, t.apiServer.Stop)
}
