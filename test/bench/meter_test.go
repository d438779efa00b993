package bench

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

func TestAMeterCountsWhatIsRead(t *testing.T) {
	const answer = 1 << 20
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", answer))
	}))
	defer server.Close()
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: server.URL + "/"} // as envtest writes it
	if err := clientcmd.WriteToFile(*config, from); err != nil {
		t.Fatal(err)
	}
	m, err := newMeter(from, to)
	if err != nil {
		t.Fatal(err)
	}
	metered, err := clientcmd.LoadFromFile(to)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	for n := range 2 {
		before := m.Read()
		response, err := client.Post(metered.Clusters["test"].Server, "text/plain", strings.NewReader(strings.Repeat("y", answer)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		// TLS adds a little; what is sent is not counted.
		if read := m.Read() - before; read < answer || read > answer+answer/10 {
			t.Errorf("request %d: %d bytes were counted, not %d and a little", n, read, answer)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", m.listener.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
