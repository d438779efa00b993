package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle"
)

func TestClientCAsThatCannotBeRead(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"/nonexistent": "no such file", empty: "holds no certificate"} {
		o, err := complete(t, with("--client-ca-file="+file)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.server(nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestChangesOfOurOwnConfigurationsAreNoticed(t *testing.T) {
	o, err := complete(t, with("--hint-configuration=hints")...)
	if err != nil {
		t.Fatal(err)
	}
	var noticed []string
	for _, changed := range []cabundle.Target{
		{Kind: cabundle.MutatingWebhookConfiguration, Name: "c"},
		{Kind: cabundle.ValidatingWebhookConfiguration, Name: "c"},
		{Kind: cabundle.ValidatingWebhookConfiguration, Name: "hints"},
		{Kind: cabundle.CustomResourceDefinition, Name: "c"},
	} {
		o.ownChanges(func() { noticed = append(noticed, changed.Kind.GroupVersionKind().Kind+" "+changed.Name) })(changed)
	}
	if diff := cmp.Diff([]string{"MutatingWebhookConfiguration c", "ValidatingWebhookConfiguration hints"}, noticed); diff != "" {
		t.Error(diff)
	}
}
