package scrape

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/test/playground"
)

// prometheus is one that runs.
type prometheus struct{ url string }

// prometheus starts one, and ends it with the test.
func (w *world) prometheus(t *testing.T) *prometheus {
	t.Helper()
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if err := playground.FreePorts(&port); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	w.writeConfig(t, root, dir, config)
	log := filepath.Join(dir, "prometheus.log")
	process, err := playground.StartProcess([]string{
		filepath.Join(root, "bin", "prometheus"), "--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port),
	}, port, log)
	if err != nil {
		t.Fatalf("`make bin/prometheus` builds it: %v", err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(process.ReadLog())
		}
	})
	p := &prometheus{fmt.Sprintf("http://127.0.0.1:%d", port)}
	eventually(t, "Prometheus is ready", func() error {
		if !process.Probe(t.Context(), "/-/ready") {
			return errors.New("it is not")
		}
		return nil
	})
	return p
}

// writeConfig writes Prometheus' configuration: the one of docs/metrics.md, but that pods are not looked for. What the ServiceMonitor names is
// read from the cluster, as the operator does, and so are the rules.
func (w *world) writeConfig(t *testing.T, root, dir, path string) {
	t.Helper()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	endpoint := w.endpoint(t)
	job := documentedJob(t, root)
	tls, authorization := job["tls_config"].(map[string]any), job["authorization"].(map[string]any)
	if tls["server_name"] != endpoint.TLSConfig.ServerName || job["scheme"] != endpoint.Scheme {
		t.Errorf("docs/metrics.md has %v, the ServiceMonitor %+v", job, endpoint)
	}
	job["static_configs"] = targets(fmt.Sprintf("localhost:%d", w.install.MetricsPort))
	ca := endpoint.TLSConfig.CA.Secret
	tls["ca_file"] = write("ca.crt", []byte(w.secret(t, ca.Name, ca.Key)))
	authorization["credentials_file"] = write("token", []byte(w.token(t, endpoint.Authorization.Credentials.Name)))
	powerless := map[string]any{"job_name": "powerless", "scheme": "https", "tls_config": tls, "static_configs": job["static_configs"],
		"authorization": map[string]any{"credentials_file": write("powerless", []byte(w.token(t, "default")))}}
	admin := w.control.Config
	host, err := url.Parse(admin.Host)
	if err != nil {
		t.Fatal(err)
	}
	apiServer := map[string]any{"job_name": "apiserver", "scheme": "https", "static_configs": targets(host.Host),
		"tls_config": map[string]any{"ca_file": write("api.crt", admin.CAData), "cert_file": write("admin.crt", admin.CertData), "key_file": write("admin.key", admin.KeyData)}}
	output, err := w.control.Kubectl(t.Context(), "", "--namespace", playground.Namespace, "get", "prometheusrule", "caject", "--output=jsonpath={.spec}")
	if err != nil {
		t.Fatal(err)
	}
	config, err := yaml.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{write("rules.yaml", []byte(output.Stdout))},
		"scrape_configs": []any{job, powerless, apiServer},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
}

// documentedJob returns how caject is scraped by docs/metrics.md, but for how it is found.
func documentedJob(t *testing.T, root string) map[string]any {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	var config struct {
		ScrapeConfigs []map[string]any `json:"scrape_configs"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &config); err != nil || len(config.ScrapeConfigs) != 1 {
		t.Fatalf("%v, %v", config, err)
	}
	job := config.ScrapeConfigs[0]
	delete(job, "kubernetes_sd_configs")
	delete(job, "relabel_configs")
	return job
}

func targets(address string) []any {
	return []any{map[string]any{"targets": []string{address}}}
}

// endpoint is what the chart's ServiceMonitor says.
type endpoint struct {
	Scheme    string
	TLSConfig struct {
		ServerName string
		CA         struct{ Secret struct{ Name, Key string } }
	}
	Authorization struct{ Credentials struct{ Name, Key string } }
}

func (w *world) endpoint(t *testing.T) endpoint {
	t.Helper()
	output, err := w.control.Kubectl(t.Context(), "", "--namespace", playground.Namespace, "get", "servicemonitor", "caject-metrics", "--output=jsonpath={.spec.endpoints[0]}")
	if err != nil {
		t.Fatal(err)
	}
	var e endpoint
	if err := json.Unmarshal([]byte(output.Stdout), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// secret returns what a Secret in caject's namespace has under key, once it is there.
func (w *world) secret(t *testing.T, name, key string) string {
	t.Helper()
	var value string
	eventually(t, "Secret "+name, func() error {
		output, err := w.control.Kubectl(t.Context(), "", "--namespace", playground.Namespace, "get", "secret", name,
			fmt.Sprintf(`--output=go-template={{index .data "%s" | base64decode}}`, key))
		if value = output.Stdout; err == nil && !strings.Contains(value, "BEGIN") {
			err = fmt.Errorf("it has %q", value)
		}
		return err
	})
	return value
}

// token returns one of a ServiceAccount in caject's namespace. (Kubernetes' controller would put one into the Secret of the same name; it does not
// run here.)
func (w *world) token(t *testing.T, account string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if account == "default" { // likewise
		if _, err := w.control.Kubectl(t.Context(), "", "--namespace", playground.Namespace, "create", "serviceaccount", "default"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.control.WriteKubeconfig(t.Context(), playground.Namespace, account, path); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	return config.BearerToken
}

// get asks Prometheus' API.
func (p *prometheus) get(t *testing.T, path string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// ask returns the values that a query gives now.
func (p *prometheus) ask(t *testing.T, query string) []string {
	t.Helper()
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	p.get(t, "/api/v1/query?query="+url.QueryEscape(query), &answer)
	if answer.Error != "" {
		t.Fatalf("%s: %s", query, answer.Error)
	}
	var values []string
	for _, result := range answer.Data.Result {
		values = append(values, fmt.Sprint(result.Value[1]))
	}
	return values
}

func (p *prometheus) eventually(t *testing.T, query, want string) {
	t.Helper()
	eventually(t, query, func() error {
		if got := p.ask(t, query); len(got) != 1 || got[0] != want {
			return fmt.Errorf("got %v, want %s", got, want)
		}
		return nil
	})
}

// rulesAreHealthy waits until Prometheus has evaluated all rules, without an error.
func (p *prometheus) rulesAreHealthy(t *testing.T) {
	t.Helper()
	eventually(t, "the rules are evaluated", func() error {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		p.get(t, "/api/v1/rules", &answer)
		if len(answer.Data.Groups) != 1 || len(answer.Data.Groups[0].Rules) < 10 {
			return fmt.Errorf("there are %v", answer.Data.Groups)
		}
		for _, rule := range answer.Data.Groups[0].Rules {
			if rule.Health != "ok" {
				return fmt.Errorf("%s: %s %s", rule.Name, rule.Health, rule.LastError)
			}
		}
		return nil
	})
}
