package main_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
	"github.com/caject/caject/test/playground"
)

// readsTargets are the rights to read all kinds that carry a caBundle.
var readsTargets = []rbacv1.PolicyRule{
	{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}, Verbs: []string{"get", "list"}},
	{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: []string{"get", "list"}},
	{APIGroups: []string{"apiregistration.k8s.io"}, Resources: []string{"apiservices"}, Verbs: []string{"get", "list"}},
}

// status returns what status says of targets, as data.
func status(t *testing.T, kubeconfig string, code int, args ...string) *survey.Survey {
	t.Helper()
	return decodedWith[survey.Survey](t, kubeconfig, code, "status", args...)
}

// only returns the one finding of a survey.
func only(t *testing.T, found *survey.Survey) survey.Finding {
	t.Helper()
	if len(found.Targets) != 1 {
		t.Fatalf("%d targets: %+v", len(found.Targets), found)
	}
	return found.Targets[0]
}

func TestStatusOfEachKind(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("status")
	create(t, playground.NewSecret(namespace, "status", ca))
	names := []string{"mutatingwebhookconfiguration/status", "vwc/status", "crd/stati.stati.example.com", "apiservice/v1.status.example.com"}
	for _, object := range []client.Object{
		playground.NewMutating("status", 2, playground.FromSecret(namespace, "status")),
		playground.NewValidating("status", 2, playground.FromSecret(namespace, "status")),
		playground.NewCRD("stati", playground.FromSecret(namespace, "status")),
		playground.NewAPIService("status", playground.FromSecret(namespace, "status")),
	} {
		create(t, object)
		filled(t, object, ca)
	}
	found := status(t, cluster.Kubeconfig, 0, names...)
	if len(found.Targets) != len(names) {
		t.Fatalf("%+v", found)
	}
	for _, f := range found.Targets {
		if f.State != survey.Injected || f.Source != "secret/cli/status" || f.Expires == nil || f.Created == nil {
			t.Errorf("%+v", f)
		}
	}
	stdout, _, code := run(t, append([]string{"status", "--output", "name"}, names...)...)
	want := "mutatingwebhookconfiguration.admissionregistration.k8s.io/status\nvalidatingwebhookconfiguration.admissionregistration.k8s.io/status\n" +
		"customresourcedefinition.apiextensions.k8s.io/stati.stati.example.com\napiservice.apiregistration.k8s.io/v1.status.example.com\n"
	if stdout != want || code != 0 {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	// What it prints as names, kubectl takes.
	if _, err := cluster.Kubectl(t.Context(), "", append([]string{"get"}, strings.Fields(stdout)...)...); err != nil {
		t.Error(err)
	}
	for _, form := range []string{"wide", "yaml", ""} {
		stdout, stderr, code := run(t, "status", "vwc/status", "--output", form)
		if code != 0 || !strings.Contains(stdout, "secret/cli/status") || stderr != "" {
			t.Errorf("%q: exit code %d: %s%s", form, code, stdout, stderr)
		}
		if form == "yaml" && yaml.Unmarshal([]byte(stdout), &survey.Survey{}) != nil {
			t.Errorf("no YAML: %s", stdout)
		}
	}
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	closed := playground.NewSecret(namespace, "status-closed", playground.NewCA("closed"))
	closed.Annotations = nil
	create(t, closed)
	for name, test := range map[string]struct {
		annotations map[string]string
		state       survey.State
		reason      cabundle.Reason
	}{
		"missing":   {playground.FromSecret(namespace, "status-missing"), survey.Refused, cabundle.SourceNotFound},
		"closed":    {playground.FromSecret(namespace, "status-closed"), survey.Refused, cabundle.SourceNotAllowed},
		"malformed": {map[string]string{cabundle.InjectCAFromAnnotation: "x"}, survey.Refused, cabundle.InvalidAnnotation},
		"misspelt":  {map[string]string{"certmanager.k8s.io/inject-ca-from": "a/b"}, survey.Refused, cabundle.InvalidAnnotation},
		"none":      {nil, survey.NotAnnotated, ""},
	} {
		create(t, playground.NewValidating("status-"+name, 1, test.annotations))
		found := only(t, status(t, cluster.Kubeconfig, 1, "vwc/status-"+name))
		if found.State != test.state || found.Reason != test.reason || found.Message == "" || found.Remedy == "" {
			t.Errorf("%s: %+v", name, found)
		}
		stdout, _, code := run(t, "status", "vwc/status-"+name)
		if code != 1 || !strings.Contains(stdout, "way out: ") || !strings.Contains(stdout, "1 of 1 are not right.") {
			t.Errorf("%s: exit code %d: %s", name, code, stdout)
		}
	}
	if found := only(t, status(t, cluster.Kubeconfig, 1, "vwc", "status-absent")); found.State != survey.Absent {
		t.Errorf("%+v", found)
	}
	// Filters. All that names a source in another namespace is left out.
	found := status(t, cluster.Kubeconfig, 1, "vwc", "--namespace", namespace, "--state", "refused")
	for _, f := range found.Targets {
		if f.State != survey.Refused || !strings.HasPrefix(f.Source, "secret/"+namespace+"/") {
			t.Errorf("%+v", f)
		}
	}
	if len(found.Targets) < 2 {
		t.Errorf("%+v", found)
	}
	if found := status(t, cluster.Kubeconfig, 0, "--namespace", "nobody-is-here"); len(found.Targets) != 0 {
		t.Errorf("%+v", found)
	}
}

func TestStatusForUsersOfFewRights(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("status-rights")
	create(t, playground.NewSecret(namespace, "status-rights", ca))
	target := playground.NewValidating("status-rights", 1, playground.FromSecret(namespace, "status-rights"))
	create(t, target)
	filled(t, target, ca)
	eventually(t, "publish the source", func(ctx context.Context) error {
		_, err := cluster.Kubectl(ctx, "", "wait", "--for=condition=Ready", "cabundle/secret.cli.status-rights", "--timeout=1s")
		return err
	})
	readsCABundles := rbacv1.PolicyRule{APIGroups: []string{"caject.io"}, Resources: []string{"cabundles"}, Verbs: []string{"get", "list"}}

	viewer := kubeconfigOf(t, append([]rbacv1.PolicyRule{readsCABundles}, readsTargets...)...)
	if f := only(t, status(t, viewer, 0, "vwc/status-rights")); f.State != survey.Injected || !strings.Contains(f.Message, "you may not read Secret cli/status-rights; judged by what caject publishes of it") {
		t.Errorf("who may read CABundles: %+v", f)
	}
	found := status(t, kubeconfigOf(t, readsTargets...), 0, "vwc/status-rights")
	if f := only(t, found); f.State != survey.Unverified || !strings.Contains(f.Message, "is not known") {
		t.Errorf("who may read targets: %+v", f)
	}
	if len(found.Gaps) != 1 || !strings.Contains(found.Gaps[0], "you may not list cabundles") {
		t.Errorf("gaps: %q", found.Gaps)
	}
	stdout, stderr, code := runAs(t, kubeconfigOf(t, readsTargets[1]), "status")
	if strings.Contains(stdout, "WebhookConfiguration") || !strings.Contains(stderr, "note: you may not list validatingwebhookconfigurations: those are missing here") {
		t.Errorf("who may read CRDs: exit code %d: %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = runAs(t, kubeconfigOf(t), "status")
	if code != 2 || stdout != "" || !strings.HasPrefix(stderr, "error: you have not the rights for this: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("who may nothing: exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestStatusWaits(t *testing.T) {
	t.Parallel()
	ca := playground.NewCA("wait")
	create(t, playground.NewValidating("wait", 1, playground.FromSecret(namespace, "wait")))
	stdout, stderr, code := run(t, "status", "vwc/wait", "--wait", "--timeout", "500ms", "--interval", "100ms")
	if code != 1 || !strings.Contains(stderr, "Secret cli/wait does not exist") || !strings.Contains(stderr, "error: not all was right after 500ms") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	if n := strings.Count(stdout, "\n"); n != 1 {
		t.Errorf("%d lines, though nothing changed: %s", n, stdout)
	}
	var done sync.WaitGroup
	done.Go(func() {
		stdout, stderr, code := run(t, "status", "vwc/wait", "--wait", "--interval", "100ms")
		if code != 0 || !strings.Contains(stdout, "ValidatingWebhookConfiguration wait: Injected\n") {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
	})
	time.Sleep(time.Second)
	create(t, playground.NewSecret(namespace, "wait", ca))
	done.Wait()
}

// inTerminal runs kubectl caject in a pseudo-terminal, and returns what is on it in the end, escape codes included.
func inTerminal(t *testing.T, columns uint16, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), cluster.plugin, append([]string{"--kubeconfig", cluster.Kubeconfig}, args...)...)
	command.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: 24, Cols: columns})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var text strings.Builder
	lines := bufio.NewReader(terminal)
	for {
		line, err := lines.ReadString('\n')
		text.WriteString(line)
		if err != nil { // Linux says EIO when the other side is closed
			break
		}
	}
	_ = command.Wait() // the exit code is another test's matter
	return text.String()
}

func TestStatusOnATerminal(t *testing.T) {
	t.Parallel()
	create(t, playground.NewValidating("terminal", 1, playground.FromSecret(namespace, "terminal-missing")))
	text := inTerminal(t, 40, "status", "vwc/terminal")
	if !strings.Contains(text, "\x1b[31mRefused") {
		t.Errorf("no colour: %q", text)
	}
	_, said, _ := strings.Cut(text, "SourceNotFound")
	for line := range strings.Lines(said) {
		if line = strings.TrimRight(line, "\r\n"); len(line) > 40 && !strings.Contains(line, "\x1b") {
			t.Errorf("%q is wider than the terminal", line)
		}
	}
	text = inTerminal(t, 40, "status", "vwc/terminal", "--wait", "--timeout", "1s", "--interval", "200ms")
	if !strings.Contains(text, "\x1b[2A\x1b[J") || !strings.Contains(text, "0 of 1 right") {
		t.Errorf("it is not drawn again: %q", text)
	}
}

func TestStatusMeetsBadInput(t *testing.T) {
	t.Parallel()
	config, err := clientcmd.LoadFromFile(cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		user.ClientCertificateData, user.ClientKeyData, user.Token = nil, nil, "expired"
	}
	expired := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, expired); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		said string
	}{
		"no kubeconfig":           {[]string{"status", "--kubeconfig", "/nowhere/kubeconfig"}, "no such file"},
		"a folder as kubeconfig":  {[]string{"status", "--kubeconfig", t.TempDir()}, "is a directory"},
		"no API server":           {[]string{"status", "--server", "https://127.0.0.1:1"}, "the API server cannot be reached: "},
		"an expired token":        {[]string{"status", "--kubeconfig", expired}, "the cluster does not know you: "},
		"another context":         {[]string{"status", "--context", "nix"}, `context "nix" does not exist`},
		"another kind":            {[]string{"status", "pods"}, `"pods" carries no caBundle`},
		"no name":                 {[]string{"status", "crd/"}, "is not KIND/NAME"},
		"another output":          {[]string{"status", "--output", "xml"}, `--output: "xml" is none of wide`},
		"another state":           {[]string{"status", "--state", "fine"}, `--state: "fine" is none of Injected`},
		"an interval of nothing":  {[]string{"status", "--watch", "--interval", "1ms"}, "--interval: 1ms is too short"},
		"no time to wait":         {[]string{"status", "--wait", "--timeout", "0s"}, "--timeout: 0s is not in the future"},
		"both":                    {[]string{"status", "--wait", "--watch"}, "none of the others can be"},
		"another flag":            {[]string{"status", "--nix"}, "unknown flag: --nix"},
		"another command":         {[]string{"stauts"}, `unknown command "stauts"`},
		"as somebody who may not": {[]string{"status", "--as", "nobody"}, "you have not the rights for this: "},
	} {
		stdout, stderr, code := run(t, test.args...)
		if code != 2 || stdout != "" || !strings.HasPrefix(stderr, "error: ") || !strings.Contains(stderr, test.said) {
			t.Errorf("%s: exit code %d: %s%s", name, code, stdout, stderr)
		}
		if strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: more than one line: %s", name, stderr)
		}
	}
}

func TestABrokenPipe(t *testing.T) {
	t.Parallel()
	line := fmt.Sprintf("set -o pipefail; %s --kubeconfig %s status --watch --interval 100ms | head -1", cluster.plugin, cluster.Kubeconfig)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for i := 0; i < 3; i++ { // there have to be changes for it to write again
		create(t, playground.NewValidating("pipe-"+strconv.Itoa(i), 1, playground.FromSecret(namespace, "pipe")))
	}
	out, _ := exec.CommandContext(ctx, "bash", "-c", line).CombinedOutput()
	if text := string(out); strings.Count(text, "\n") != 1 || strings.Contains(text, "goroutine") || ctx.Err() != nil {
		t.Errorf("%v: %s", ctx.Err(), text)
	}
}

// TestStatusWhileObjectsComeAndGo: what goes away between the list and the read is left out, and no error.
func TestStatusWhileObjectsComeAndGo(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	var churning sync.WaitGroup
	churning.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			crd := playground.NewCRD("comes"+strconv.Itoa(i), playground.FromSecret(namespace, "comes"))
			if cluster.client.Create(ctx, crd) == nil {
				_ = cluster.client.Delete(context.WithoutCancel(ctx), crd)
			}
		}
	})
	for ctx.Err() == nil {
		if stdout, stderr, code := run(t, "status", "crd"); code == 2 {
			t.Errorf("%s%s", stdout, stderr)
			break
		}
	}
	stop()
	churning.Wait()
}

// targetsVariable says, in the environment, how many targets TestStatusOfManyTargets has.
const targetsVariable = "CLI_TARGETS"

// TestStatusOfManyTargets has none but cert-manager's annotations and what some injector would have written. CLI_TARGETS says how many
// targets, ten for each source: make cli takes 5,000.
func TestStatusOfManyTargets(t *testing.T) {
	targets := 500
	if text := os.Getenv(targetsVariable); text != "" {
		var err error
		if targets, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	root, err := playground.Root()
	if err != nil {
		t.Fatal(err)
	}
	control, err := playground.StartControlPlane(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := control.Stop(); err != nil {
			t.Error(err)
		}
	}()
	admin, err := playground.NewClient(control.Config)
	if err != nil {
		t.Fatal(err)
	}
	const each = 10
	var creating sync.WaitGroup
	for worker := range each {
		creating.Go(func() {
			for source := worker; source < targets/each; source += each {
				name := "many-" + strconv.Itoa(source)
				ca := playground.NewCA(name)
				objects := []client.Object{playground.NewSecret("default", name, ca)}
				for i := range each {
					target := playground.NewValidating(fmt.Sprintf("%s-%d", name, i), 2, playground.FromSecret("default", name))
					for w := range target.Webhooks {
						target.Webhooks[w].ClientConfig.CABundle = ca
					}
					objects = append(objects, target)
				}
				for _, object := range objects {
					if err := admin.Create(t.Context(), object); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	creating.Wait()
	for range 3 {
		began := time.Now()
		found := status(t, control.Kubeconfig, 0)
		t.Logf("status of %d targets over %d sources: %.2f s", len(found.Targets), targets/each, time.Since(began).Seconds())
		if len(found.Targets) != targets {
			t.Errorf("%d targets, not %d", len(found.Targets), targets)
		}
	}
}
