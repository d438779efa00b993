package playground

import (
	"context"
	"path/filepath"
)

// CertManager is the module that carries cert-manager's chart and its cainjector.
const CertManager = "github.com/cert-manager/cert-manager@v1.21.2"

// CertManagerChart returns the folder of cert-manager's chart.
func CertManagerChart(ctx context.Context) (string, error) {
	dir, err := ModuleDir(ctx, CertManager)
	return filepath.Join(dir, "deploy", "charts", "cert-manager"), err
}

// RenderCertManager returns the manifests of cert-manager's chart, of those of its templates that are named (without
// .yaml), or all of them; values are helm's --set.
func (c *ControlPlane) RenderCertManager(ctx context.Context, templates []string, values ...string) (string, error) {
	chart, err := CertManagerChart(ctx)
	if err != nil {
		return "", err
	}
	args := []string{"template", "cert-manager", chart,
		"--namespace", "cert-manager", "--set", "crds.enabled=true", "--set", "startupapicheck.enabled=false"}
	for _, template := range templates {
		args = append(args, "--show-only", "templates/"+template+".yaml")
	}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	output, err := c.Helm(ctx, args...)
	return output.Stdout, err
}

// CainjectorNamespace is where cert-manager's chart is installed for its cainjector.
const CainjectorNamespace = "cert-manager"

// InstallCainjector gives cert-manager's cainjector what its chart does: the CRD of Certificates, its ServiceAccount and its
// rights. It returns a kubeconfig with the token of that account. The program is that of test/oracle/cainjector.
func InstallCainjector(ctx context.Context, c *ControlPlane) (kubeconfig string, err error) {
	if _, err := c.Kubectl(ctx, "", "create", "namespace", CainjectorNamespace); err != nil {
		return "", err
	}
	manifests, err := c.RenderCertManager(ctx, []string{"crd-cert-manager.io_certificates", "cainjector-serviceaccount", "cainjector-rbac"})
	if err != nil {
		return "", err
	}
	if _, err := c.Kubectl(ctx, manifests, "apply", "--server-side", "-f", "-"); err != nil {
		return "", err
	}
	kubeconfig = filepath.Join(c.Dir, "cainjector.kubeconfig")
	return kubeconfig, c.WriteKubeconfig(ctx, CainjectorNamespace, "cert-manager-cainjector", kubeconfig)
}
