package playground

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
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
	// Env is the environment that the Deployment sets, each as name=value, but what only a kubelet knows.
	Env []string
	// WebhookPort, HealthPort and MetricsPort are on loopback.
	WebhookPort, HealthPort, MetricsPort int
}

// Command returns the command line of program as caject, the program first, with args behind those of the chart.
func (i *Installation) Command(program string, args ...string) []string {
	return slices.Concat([]string{program}, i.Args, args)
}

// Start runs Command. Its log goes to logPath.
func (i *Installation) Start(program, logPath string, args ...string) (*Process, error) {
	return StartProcess(i.Command(program, args...), i.HealthPort, logPath, i.Env...)
}

// Install installs the chart with helm, and values on top of what the playground needs (helm's --set).
func Install(ctx context.Context, c *ControlPlane, values ...string) (*Installation, error) {
	i, err := NewInstallation(c)
	if err != nil {
		return nil, err
	}
	return i, i.helm(ctx, c, "install", append([]string{"--create-namespace"}, sets(values)...)...)
}

// Upgrade upgrades the chart with helm, with values as for Install. What runs goes on as it was started.
func (i *Installation) Upgrade(ctx context.Context, c *ControlPlane, values ...string) error {
	return i.helm(ctx, c, "upgrade", sets(values)...)
}

// helm installs or upgrades the chart, and reads what came of it.
func (i *Installation) helm(ctx context.Context, c *ControlPlane, verb string, args ...string) error {
	all := slices.Concat([]string{verb, "caject", filepath.Join(c.root, "charts", "caject"), "--namespace", Namespace}, sets(i.Values()), args)
	if _, err := c.Helm(ctx, all...); err != nil {
		return err
	}
	return i.Read(ctx, c)
}

// sets returns values as helm's arguments.
func sets(values []string) (args []string) {
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return args
}

// NewInstallation chooses where caject will listen. The chart is not installed yet.
func NewInstallation(c *ControlPlane) (*Installation, error) {
	i := &Installation{Kubeconfig: filepath.Join(c.Dir, "caject.kubeconfig")}
	return i, FreePorts(&i.WebhookPort, &i.HealthPort, &i.MetricsPort)
}

// Values are those of the chart that the playground needs (helm's --set).
func (i *Installation) Values() []string {
	return []string{
		// There is no cluster network: the Service is another name for this machine.
		"service.type=ExternalName",
		"service.externalName=localhost",
		"service.port=" + strconv.Itoa(i.WebhookPort),
		"webhook.port=" + strconv.Itoa(i.WebhookPort),
		"health.port=" + strconv.Itoa(i.HealthPort),
		"metrics.port=" + strconv.Itoa(i.MetricsPort),
		"logging.format=text",
	}
}

// Read takes over what the installed chart's Deployment says, and gets a token of its ServiceAccount.
func (i *Installation) Read(ctx context.Context, c *ControlPlane) error {
	return i.ReadIn(ctx, c, Namespace)
}

// ReadIn is Read of what was installed in another namespace.
func (i *Installation) ReadIn(ctx context.Context, c *ControlPlane, namespace string) error {
	pod, err := c.Pod(ctx, namespace, "caject")
	if err != nil {
		return err
	}
	container := pod.Containers[0]
	i.Args, i.Env = append(slices.Clone(container.Args), "--kubeconfig="+i.Kubeconfig), nil
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			i.Env = append(i.Env, variable.Name+"="+variable.Value)
		}
	}
	return c.WriteKubeconfig(ctx, namespace, pod.ServiceAccountName, i.Kubeconfig)
}

// Pod returns what a Deployment's pods are made from. The errors are those of the API machinery.
func (c *ControlPlane) Pod(ctx context.Context, namespace, deployment string) (*corev1.PodSpec, error) {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	found, err := client.AppsV1().Deployments(namespace).Get(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return &found.Spec.Template.Spec, nil
}

// WriteKubeconfig writes a kubeconfig with a token of a ServiceAccount and nothing of the admin's. Of several API servers it names the
// balancer.
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
	config.Clusters["playground"] = &clientcmdapi.Cluster{Server: c.Entrance().Host, CertificateAuthorityData: c.Config.CAData}
	config.AuthInfos[account] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts[account] = &clientcmdapi.Context{Cluster: "playground", AuthInfo: account}
	config.CurrentContext = account
	return clientcmd.WriteToFile(*config, path)
}

// RedirectKubeconfig writes a copy of a kubeconfig that leads to another server, one with a certificate of ca (PEM). from and to may be the
// same file.
func RedirectKubeconfig(from, to, server string, ca []byte) error {
	config, err := clientcmd.LoadFromFile(from)
	if err != nil {
		return err
	}
	for _, cluster := range config.Clusters {
		cluster.Server, cluster.CertificateAuthorityData = server, ca
	}
	return clientcmd.WriteToFile(*config, to)
}
