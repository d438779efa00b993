package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig writes a file that names an API server with the given CA, and returns its path.
func kubeconfig(t *testing.T, cluster clientcmdapi.Cluster) string {
	t.Helper()
	cluster.Server = "https://localhost:1"
	config := clientcmdapi.NewConfig()
	config.Clusters["c"], config.Contexts["c"], config.CurrentContext = &cluster, &clientcmdapi.Context{Cluster: "c"}, "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheAPIServersCAIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := kubeconfig(t, clientcmdapi.Cluster{CertificateAuthority: file})
	read := apiServerCA(path)
	expect := func(want string) {
		t.Helper()
		if got, err := read(); err != nil || string(got) != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
	expect("one")
	if err := os.WriteFile(file, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("two")
	other, err := os.ReadFile(kubeconfig(t, clientcmdapi.Cluster{CertificateAuthorityData: []byte("three")}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, other, 0o600); err != nil {
		t.Fatal(err)
	}
	expect("three")
}

func TestAKubeconfigWithoutCA(t *testing.T) {
	if _, err := apiServerCA(kubeconfig(t, clientcmdapi.Cluster{}))(); err == nil || !strings.Contains(err.Error(), "names none") {
		t.Errorf("error is %v", err)
	}
}

func TestClientsDoNotLimitThemselves(t *testing.T) {
	config, err := loadConfig(kubeconfig(t, clientcmdapi.Cluster{}))
	if err != nil {
		t.Fatal(err)
	}
	if config.QPS != -1 {
		t.Errorf("QPS is %v: client-go takes 0 for its low default", config.QPS)
	}
}

func TestAnOutageIsLoggedOncePerState(t *testing.T) {
	var log bytes.Buffer
	logger := funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{})
	var answer error
	transport := (&connection{log: logger}).watch(roundTripper(func(*http.Request) (*http.Response, error) { return nil, answer }))
	ask := func(ctx context.Context, err error) {
		answer = err
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://localhost", nil)
		response, _ := transport.RoundTrip(request)
		if response != nil {
			response.Body.Close()
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused := errors.New("connection refused")

	ask(t.Context(), nil)
	ask(ended, refused)
	if log.Len() > 0 {
		t.Errorf("logged without an outage: %s", &log)
	}
	for range 3 {
		for range 5 {
			ask(t.Context(), refused)
		}
		for range 5 {
			ask(t.Context(), nil)
		}
	}
	if away, back := strings.Count(log.String(), "unreachable"), strings.Count(log.String(), "answers again"); away != 3 || back != 3 {
		t.Errorf("logged %d times that it is away and %d times that it is back:\n%s", away, back, &log)
	}
}
