package main

import (
	"debug/buildinfo"
	"os"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

// writeBill writes the bill of materials of the program at binary, as CycloneDX: what Go's linker has noted in it.
func writeBill(path, binary string, s source) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	sum, err := checksum(binary)
	if err != nil {
		return err
	}
	bill := cyclonedx.NewBOM()
	main := component(cyclonedx.ComponentTypeApplication, info.Main.Path, s.version)
	main.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}}
	main.Licenses = &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}}
	bill.Metadata = &cyclonedx.Metadata{Timestamp: s.time.Format(time.RFC3339), Component: &main}
	parts := []cyclonedx.Component{component(cyclonedx.ComponentTypeLibrary, "std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		parts = append(parts, component(cyclonedx.ComponentTypeLibrary, module.Path, module.Version))
	}
	needed := make([]string, 0, len(parts))
	for _, part := range parts {
		needed = append(needed, part.BOMRef)
	}
	bill.Components = &parts
	bill.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &needed}}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := cyclonedx.NewBOMEncoder(file, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bill, cyclonedx.SpecVersion1_6); err != nil {
		return err
	}
	return file.Close()
}

// component describes a Go module, or the standard library, which scanners know as std.
func component(kind cyclonedx.ComponentType, path, version string) cyclonedx.Component {
	url := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	return cyclonedx.Component{Type: kind, BOMRef: url, PackageURL: url, Name: path, Version: version}
}
