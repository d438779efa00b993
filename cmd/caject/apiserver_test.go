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
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
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
	c := newConnection(logger, clock.RealClock{})
	transport := c.watch(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, answer
	}))
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
	if log.Len() > 0 || len(c.back) > 0 {
		t.Errorf("logged without an outage: %s; it is back: %d", &log, len(c.back))
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
	if len(c.back) != 1 {
		t.Error("nobody who asks is told that it was away")
	}
}

// TestATokenThatIsRejected lets the API server answer, one answer a time. Without one, it is away.
func TestATokenThatIsRejected(t *testing.T) {
	const away = 0
	type said struct {
		Ready           bool
		Rejected, Taken int // how often it is logged
	}
	for sentence, test := range map[string]struct {
		answers []int // one each four seconds
		want    said
	}{
		"nothing was asked yet":                        {nil, said{Ready: true}},
		"all is well":                                  {[]int{200, 404, 403, 409, 500}, said{Ready: true}},
		"an API server that starts rejects it once":    {[]int{401, 200}, said{Ready: true}},
		"it rejects it for a moment":                   {[]int{401, 401, 401}, said{Ready: true}},
		"it goes on to":                                {[]int{401, 401, 401, 401}, said{Rejected: 1}},
		"it is said once":                              {[]int{401, 401, 401, 401, 401, 401, 401}, said{Rejected: 1}},
		"it takes it in between":                       {[]int{401, 401, 403, 401, 401, 401}, said{Ready: true}},
		"it takes it again":                            {[]int{401, 401, 401, 401, 200, 200}, said{Ready: true, Rejected: 1, Taken: 1}},
		"it rejects it anew":                           {[]int{401, 401, 401, 401, 200, 401, 401, 401, 401}, said{Rejected: 2, Taken: 1}},
		"the API server is away":                       {[]int{away, away, away, away, away}, said{Ready: true}},
		"it is away between two starts":                {[]int{401, away, away, away, away, 401, 200}, said{Ready: true}},
		"it is away after it has rejected it for long": {[]int{401, 401, 401, 401, away, away}, said{Rejected: 1}},
		"it comes back, and takes it":                  {[]int{401, 401, 401, 401, away, away, 200}, said{Ready: true, Rejected: 1, Taken: 1}},
	} {
		t.Run(sentence, func(t *testing.T) {
			var log bytes.Buffer
			clk := clocktesting.NewFakeClock(time.Now())
			c := newConnection(funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{}), clk)
			var status int
			transport := c.watch(roundTripper(func(*http.Request) (*http.Response, error) {
				if status == away {
					return nil, errors.New("connection refused")
				}
				return &http.Response{StatusCode: status, Body: http.NoBody}, nil
			}))
			for _, status = range test.answers {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost", nil)
				if err != nil {
					t.Fatal(err)
				}
				if response, err := transport.RoundTrip(request); err == nil {
					response.Body.Close()
				}
				clk.Step(4 * time.Second)
			}
			err := c.Ready(nil)
			got := said{err == nil, strings.Count(log.String(), "until the API server takes"), strings.Count(log.String(), "token again")}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s\n%s", diff, &log)
			}
			if err != nil && !strings.Contains(err.Error(), "rollout restart") {
				t.Errorf("it does not say what to do: %v", err)
			}
		})
	}
}
