package manifests

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

var (
	now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	ca  = cabundletest.CA("ca", now.Add(-time.Hour), now.Add(time.Hour))
)

func target(annotation, value, caBundle string) string {
	return fmt.Sprintf("---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: x, annotations: {%s: %q}}\nwebhooks:\n- {name: w, clientConfig: {caBundle: %q}}\n",
		annotation, value, caBundle)
}

func secret(annotation, data string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: name, namespace: ns, annotations: {%s}}\n%s\n", annotation, data)
}

func TestSurvey(t *testing.T) {
	t.Parallel()
	const (
		allows      = `cert-manager.io/allow-direct-injection: "true"`
		of          = "cert-manager.io/certificate-name: serving"
		certificate = "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: serving, namespace: ns}\nspec: {secretName: name%s}\n"
	)
	encoded := base64.StdEncoding.EncodeToString(ca)
	fromSecret := target(cabundle.InjectCAFromSecretAnnotation, "ns/name", "")
	fromCertificate := target(cabundle.InjectCAFromAnnotation, "ns/serving", "")
	published := "---\napiVersion: caject.io/v1alpha1\nkind: CABundle\nspec: {source: secret/ns/name}\nstatus: {caBundle: " + encoded + "}\n"
	tests := map[string]struct {
		text string
		want string // state, reason, made, broken
	}{
		"a Secret":                              {fromSecret + secret(allows, "data: {ca.crt: "+encoded+"}"), "Pending  false []"},
		"in stringData":                         {fromSecret + secret(allows, fmt.Sprintf("stringData: {ca.crt: %q}", ca)), "Pending  false []"},
		"injected by the chart":                 {target(cabundle.InjectCAFromSecretAnnotation, "ns/name", encoded) + secret(allows, "data: {ca.crt: "+encoded+"}"), "Injected  false []"},
		"it does not allow it":                  {fromSecret + secret("", "data: {ca.crt: "+encoded+"}"), "Refused SourceNotAllowed false []"},
		"it has no CA":                          {fromSecret + secret(allows, ""), "Refused SourceWithoutCA false []"},
		"it is in another namespace":            {fromSecret + strings.Replace(secret(allows, ""), "ns", "other", 1), "Refused SourceNotFound false []"},
		"it names no namespace":                 {target(cabundle.InjectCAFromSecretAnnotation, "default/name", "") + strings.Replace(secret(allows, ""), ", namespace: ns", "", 1), "Refused SourceWithoutCA false []"},
		"it is not there":                       {fromSecret, "Refused SourceNotFound false []"},
		"a CABundle in its place":               {fromSecret + published, "Pending  false []"},
		"a Certificate makes it":                {fromSecret + fmt.Sprintf(certificate, ", secretTemplate: {annotations: {"+allows+"}}"), "Refused SourceWithoutCA true []"},
		"a Certificate makes it, not opted in":  {fromSecret + fmt.Sprintf(certificate, ""), "Refused SourceNotAllowed true []"},
		"a Certificate":                         {fromCertificate + fmt.Sprintf(certificate, ""), "Refused SourceWithoutCA true []"},
		"a Certificate with its Secret":         {fromCertificate + fmt.Sprintf(certificate, "") + secret(of, "data: {ca.crt: "+encoded+"}"), "Pending  false []"},
		"a Certificate without Secret's name":   {fromCertificate + strings.Replace(fmt.Sprintf(certificate, ""), "secretName: name", "", 1), "Refused SourceWithoutCA false []"},
		"no Certificate":                        {fromCertificate, "Refused SourceNotFound false []"},
		"the API server's":                      {target(cabundle.InjectAPIServerCAAnnotation, "true", ""), "Refused SourceNotFound false []"},
		"PEM in the place of base64":            {target(cabundle.InjectAPIServerCAAnnotation, "true", "-----BEGIN"), "Refused SourceNotFound false [w]"},
		"no annotation":                         {target("x", "y", ""), ""},
		"a caBundle that is no text":            {strings.Replace(target(cabundle.InjectAPIServerCAAnnotation, "true", "@"), `"@"`, "[1]", 1), "Refused SourceNotFound false [w]"},
		"another group's kind of the same name": {strings.Replace(fromSecret, "admissionregistration.k8s.io", "example.com", 1), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := Parse("f", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			targets, beside, err := Survey(now, objects, "default")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for i, f := range targets {
				got = fmt.Sprintf("%s %s %v %v", f.State, f.Reason, beside.Made[f.Reference], beside.Broken[i])
				if beside.Places[i] != "f:2" {
					t.Errorf("it is in %s", beside.Places[i])
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASecretThatIsNoBase64(t *testing.T) {
	t.Parallel()
	objects, err := Parse("f", []byte(secret("", "data: {ca.crt: '!'}")))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Survey(now, objects, "default"); err == nil || err.Error() != "f:2: Secret ns/name: illegal base64 data at input byte 0" {
		t.Errorf("error %v", err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{
		"a.yaml": "apiVersion: v1\nkind: A", "b.json": `{"apiVersion":"v1","kind":"B"}`, "README.md": "{{", "sub/c.yml": "apiVersion: v1\nkind: C",
		"only/sub/d.yaml": "apiVersion: v1\nkind: D", "empty/x.txt": "", "large.txt": strings.Repeat("#", MaxFileBytes+1), "values.txt": "a: 1",
		"limit.txt": "apiVersion: v1\nkind: L\n" + strings.Repeat("#", MaxFileBytes-24),
	} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		paths     []string
		recursive bool
		want      []string // kinds
		note      string
		refused   string
	}{
		"a file":                      {[]string{"a.yaml"}, false, []string{"A"}, "", ""},
		"two":                         {[]string{"b.json", "a.yaml"}, false, []string{"B", "A"}, "", ""},
		"standard input":              {[]string{"-"}, false, []string{"I"}, "", ""},
		"a folder":                    {[]string{"."}, false, []string{"A", "B"}, "-R reads them, too", ""},
		"a folder with what is in it": {[]string{"."}, true, []string{"A", "B", "D", "C"}, "", ""},
		"as large as may be":          {[]string{"limit.txt"}, false, []string{"L"}, "", ""},
		"larger":                      {[]string{"large.txt"}, false, nil, "", "large.txt is larger than the 10 MiB that a file may have"},
		"a folder with folders alone": {[]string{"only"}, false, nil, "", "only is a folder without files that end in .yaml, .yml, .json; -R reads the folders in it, too"},
		"a folder without manifests":  {[]string{"empty"}, true, nil, "", "empty is a folder without files that end in .yaml, .yml, .json"},
		"it is not there":             {[]string{"nothing"}, false, nil, "", "nothing does not exist"},
		"no object":                   {[]string{"values.txt"}, false, nil, "", "there is no object of Kubernetes in values.txt"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var paths []string
			for _, path := range test.paths {
				if path != "-" {
					path = at(path)
				}
				paths = append(paths, path)
			}
			objects, notes, err := Load(paths, test.recursive, strings.NewReader("apiVersion: v1\nkind: I"))
			if test.refused != "" {
				if err == nil || strings.ReplaceAll(err.Error(), dir+"/", "") != test.refused {
					t.Errorf("error %v, want %q", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, object := range objects {
				kinds = append(kinds, object.Kind)
			}
			if diff := cmp.Diff(test.want, kinds); diff != "" {
				t.Error(diff)
			}
			if note := strings.Join(notes, "\n"); !strings.Contains(note, test.note) || (test.note == "") != (note == "") {
				t.Errorf("notes %q, want %q", note, test.note)
			}
		})
	}
}

func TestAPipeThatHasBroken(t *testing.T) {
	t.Parallel()
	if _, _, err := Load([]string{"-"}, false, strings.NewReader("")); err == nil || err.Error() != "there is no object of Kubernetes in standard input" {
		t.Errorf("error %v", err)
	}
}
