package playground

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Namespace is where the chart is installed, and its release name.
const Namespace = "caject"

// Installation is the chart, installed, and how to run caject as it says.
type Installation struct {
	// Kubeconfig is a file with the token of the chart's ServiceAccount.
	Kubeconfig string
	// Args are the arguments of the chart's Deployment, and --kubeconfig.
	Args []string
	// WebhookPort, HealthPort and MetricsPort are on loopback.
	WebhookPort, HealthPort, MetricsPort int
}

// Command returns the command line of program as caject, the program first, with args behind those of the chart.
func (i *Installation) Command(program string, args ...string) []string {
	return slices.Concat([]string{program}, i.Args, args)
}

// Start runs Command. Its log goes to logPath.
func (i *Installation) Start(program, logPath string, args ...string) (*Process, error) {
	return StartProcess(i.Command(program, args...), i.HealthPort, logPath)
}

// Install installs the chart with helm, and values on top of what the playground needs (helm's --set).
func Install(ctx context.Context, c *ControlPlane, values ...string) (*Installation, error) {
	i := &Installation{Kubeconfig: filepath.Join(c.Dir, "caject.kubeconfig")}
	if err := FreePorts(&i.WebhookPort, &i.HealthPort, &i.MetricsPort); err != nil {
		return nil, err
	}
	args := []string{
		"install", "caject", filepath.Join(c.root, "charts", "caject"),
		"--namespace", Namespace, "--create-namespace",
		// There is no cluster network: the Service is another name for this machine.
		"--set", "service.type=ExternalName",
		"--set", "service.externalName=localhost",
		"--set", "service.port=" + strconv.Itoa(i.WebhookPort),
		"--set", "webhook.port=" + strconv.Itoa(i.WebhookPort),
		"--set", "health.port=" + strconv.Itoa(i.HealthPort),
		"--set", "metrics.port=" + strconv.Itoa(i.MetricsPort),
		"--set", "logging.format=text",
	}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	if _, err := c.Helm(ctx, args...); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	deployment, err := client.AppsV1().Deployments(Namespace).Get(ctx, "caject", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the chart's Deployment: %w", err)
	}
	pod := deployment.Spec.Template.Spec
	i.Args = append(append([]string{}, pod.Containers[0].Args...), "--kubeconfig="+i.Kubeconfig)
	return i, c.WriteKubeconfig(ctx, Namespace, pod.ServiceAccountName, i.Kubeconfig)
}

// WriteKubeconfig writes a kubeconfig with a token of a ServiceAccount and nothing of the admin's.
func (c *ControlPlane) WriteKubeconfig(ctx context.Context, namespace, account, path string) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	day := int64((24 * time.Hour).Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("get a token of ServiceAccount %s/%s: %w", namespace, account, err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["playground"] = &clientcmdapi.Cluster{Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData}
	config.AuthInfos[account] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts[account] = &clientcmdapi.Context{Cluster: "playground", AuthInfo: account}
	config.CurrentContext = account
	return clientcmd.WriteToFile(*config, path)
}

// FreePorts sets each of ports to a port that is free on loopback now.
func FreePorts(ports ...*int) error {
	for _, port := range ports {
		listener, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			return err
		}
		defer listener.Close() // only at the end, so that all differ
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return nil
}
