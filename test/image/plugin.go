package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// pluginName is the program of kubectl caject, as kubectl looks for it.
const pluginName = "kubectl-caject"

// pluginPlatforms are those that a release has kubectl caject for.
var pluginPlatforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}

// krewManifest is what krew installs a plugin from.
type krewManifest struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       krewSpec          `json:"spec"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector map[string]map[string]string `json:"selector"`
	URI      string                       `json:"uri"`
	SHA256   string                       `json:"sha256"`
	Bin      string                       `json:"bin"`
	Files    []map[string]string          `json:"files"`
}

// writePlugin builds kubectl caject for each platform (GOOS/GOARCH) into dist: an archive, its bill of materials, and one manifest for krew.
func writePlugin(ctx context.Context, s source, platforms []string, dir, dist string) error {
	manifest := krewManifest{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin", Metadata: map[string]string{"name": "caject"},
		Spec: krewSpec{
			Version: s.version, Homepage: "https://github.com/caject/caject", ShortDescription: "Show the state of caBundles",
			Description: "Shows which webhook configurations, CRDs and APIServices ask for a caBundle,\nwhether they hold it, and why not.\n",
		},
	}
	for _, name := range platforms {
		goos, arch, _ := strings.Cut(name, "/")
		program := pluginName
		if goos == "windows" {
			program += ".exe"
		}
		binary := filepath.Join(dir, goos+"-"+arch+"-"+program)
		if err := compile(ctx, s.root, binary, goos, arch, s.version, pluginName); err != nil {
			return err
		}
		base := filepath.Join(dist, fmt.Sprintf("%s-%s-%s-%s", pluginName, s.version, goos, arch))
		if err := writeProgram(base+".tar.gz", program, binary, s); err != nil {
			return err
		}
		if err := writeBill(base+".cdx.json", binary, s); err != nil {
			return fmt.Errorf("the bill of materials of %s for %s: %w", pluginName, name, err)
		}
		sum, err := checksum(base + ".tar.gz")
		if err != nil {
			return err
		}
		manifest.Spec.Platforms = append(manifest.Spec.Platforms, krewPlatform{
			Selector: map[string]map[string]string{"matchLabels": {"os": goos, "arch": arch}},
			URI:      fmt.Sprintf("https://github.com/caject/caject/releases/download/%s/%s.tar.gz", s.version, filepath.Base(base)),
			SHA256:   sum, Bin: program,
			Files: []map[string]string{{"from": program, "to": "."}, {"from": "LICENSE", "to": "."}},
		})
	}
	encoded, err := yaml.Marshal(manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dist, fmt.Sprintf("%s-%s-krew.yaml", pluginName, s.version)), encoded, 0o644)
}
