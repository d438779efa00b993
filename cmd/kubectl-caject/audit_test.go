package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/caject/caject/cabundle/audit"
)

const chart = "testdata/audit/chart.yaml"

// runAudit runs the command without a cluster; stdin is what it reads.
func runAudit(stdin string, args ...string) (stdout, stderr string, code int) {
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut}
	args = append([]string{"audit", "--kubeconfig", filepath.Join("testdata", "nothing")}, args...)
	code = execute(context.Background(), args, streams)
	return out.String(), errOut.String(), code
}

// goldenAudit compares got with a file of testdata. UPDATE_GOLDEN=yes writes it.
func goldenAudit(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", "audit", file)
	if os.Getenv("UPDATE_GOLDEN") == "yes" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (UPDATE_GOLDEN=yes writes it):\n%s", file, diff)
	}
}

func TestAuditOfManifests(t *testing.T) {
	t.Parallel()
	for file, args := range map[string][]string{"table.txt": nil, "json.txt": {"-o", "json"}, "yaml.txt": {"-o", "yaml"}} {
		stdout, stderr, code := runAudit("", append(args, "-n", "operator", "-f", chart)...)
		if code != exitNotRight || stderr != "" {
			t.Errorf("%v: exit code %d, stderr %q", args, code, stderr)
		}
		goldenAudit(t, file, stdout)
	}
}

func TestAuditOnATerminal(t *testing.T) {
	t.Parallel()
	issues := []audit.Issue{
		{Severity: audit.Error, Code: "SourceNotFound", Object: "secret/operator/webhook-ca", Message: "Secret operator/webhook-ca does not exist", Remedy: "create it, or correct the annotation",
			Targets: []string{"validatingwebhookconfiguration/a", "validatingwebhookconfiguration/b", "validatingwebhookconfiguration/c"}},
		{Severity: audit.Warning, Code: "WeakKey", Object: "secret/operator/webhook-ca", Message: "the source: CN=old [01234567] has an RSA key of 1024 bits", Remedy: "have it issued anew"},
		{Severity: audit.Warning, Code: "WeakKey", Object: "secret/other/ca", Message: "the source: CN=old [89abcdef] has an RSA key of 1024 bits", Remedy: "have it issued anew"},
		{Severity: audit.Info, Code: "ExpiredCertificate", Object: "apiservice/v1.example.com", Message: "its caBundle holds CN=older, which has expired"},
	}
	goldenAudit(t, "terminal.txt", issueTable(terminal{is: true, width: 120}, issues))
	goldenAudit(t, "narrow.txt", issueTable(terminal{is: true, width: 72}, issues))
	for _, width := range []int{72, 120} {
		for line := range strings.Lines(issueTable(terminal{is: true, width: width}, issues)) {
			if len(strings.TrimSuffix(line, "\n")) > width {
				t.Errorf("wider than %d: %q", width, line)
			}
		}
	}
	if got := issueTable(terminal{}, nil); got != "" {
		t.Errorf("of nothing it prints %q", got)
	}
}

func TestAuditExitCodes(t *testing.T) {
	t.Parallel()
	const (
		warning = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: x, annotations: {caject.io/inject-ca-from: apiserver}}\nwebhooks: [{name: w, clientConfig: {caBundle: Cg==}}]\n"
		note    = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: x, annotations: {caject.io/inject-ca-from: secret/a/b}}\nwebhooks: [{name: w, clientConfig: {}}]\n"
		nothing = "apiVersion: v1\nkind: ConfigMap\n"
	)
	tests := map[string]struct {
		stdin  string
		args   []string
		code   int
		stderr string
	}{
		"a warning":                        {warning, nil, exitRight, ""},
		"a warning that counts":            {warning, []string{"--fail-on", "warning"}, exitNotRight, ""},
		"a note that counts":               {note, []string{"--fail-on", "Info"}, exitNotRight, ""},
		"a note does not count":            {note, []string{"--fail-on", "warning"}, exitRight, ""},
		"one that is ignored":              {warning, []string{"--fail-on", "info", "--ignore", "Placeholder=validating*"}, exitRight, ""},
		"another that is ignored":          {warning, []string{"--fail-on", "info", "--ignore", "Placeholder=mutating*"}, exitNotRight, ""},
		"nothing that asks for a caBundle": {nothing, []string{"--fail-on", "info"}, exitRight, ""},
		"an error that does not count":     {strings.Replace(note, "secret/a/b", "a", 1), []string{"--fail-on", "never"}, exitRight, ""},
		"no YAML":                          {"a: b: c", nil, exitFailed, "error: standard input:1: mapping values are not allowed in this context\n"},
		"no input":                         {"", nil, exitFailed, "error: there is no object of Kubernetes in standard input\n"},
		"another output":                   {note, []string{"-o", "wide"}, exitFailed, "error: --output: \"wide\" is none of json, yaml\n"},
		"another severity":                 {note, []string{"--fail-on", "fatal"}, exitFailed, "error: --fail-on: \"fatal\" is none of error, warning, info, never\n"},
		"another code":                     {note, []string{"--ignore", "Foo"}, exitFailed, "error: --ignore: there is no code \"Foo\": https://github.com/caject/caject/blob/main/docs/audit.md has all\n"},
		"another length of time":           {note, []string{"--expires-within", "30"}, exitFailed, "error: --expires-within: \"30\" is no length of time, such as 30d or 12h\n"},
		"an argument":                      {note, []string{"x"}, exitFailed, "error: unknown command \"x\" for \"kubectl caject audit\"\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, stderr, code := runAudit(test.stdin, append(test.args, "-f", "-")...)
			if code != test.code || stderr != test.stderr {
				t.Errorf("exit code %d, stderr %q; want %d, %q", code, stderr, test.code, test.stderr)
			}
		})
	}
}

func TestAuditWithoutAnything(t *testing.T) {
	t.Parallel()
	if _, stderr, code := runAudit("", "-R"); code != exitFailed || stderr != "error: --recursive: there is no folder: name one with -f\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if _, stderr, code := runAudit(""); code != exitFailed || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// TestAuditInYAMLIsTheSame: one is as good as the other for a script.
func TestAuditInYAMLIsTheSame(t *testing.T) {
	t.Parallel()
	inJSON, _, _ := runAudit("", "-o", "json", "-f", chart)
	inYAML, _, _ := runAudit("", "-o", "yaml", "-f", chart)
	converted, err := yaml.YAMLToJSON([]byte(inYAML))
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal([]byte(inJSON), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(converted, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30d": 30 * 24 * time.Hour, "0d": 0, "12h": 12 * time.Hour, "-1d": -24 * time.Hour} {
		if got, err := parseDays(text); got != want || err != nil {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "30", "1.5d", "99999999d"} {
		if got, err := parseDays(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestIgnoreIsCompletedWithCodes(t *testing.T) {
	t.Parallel()
	if names := codeNames(); !slices.Contains(names, "SourceNotFound") || len(names) != len(audit.Codes()) {
		t.Errorf("%v", names)
	}
}
