package cabundle

import (
	"fmt"
	"slices"
)

// Scope says which sources may be read. The zero value allows all. The API server's CA is in every scope.
type Scope struct {
	// Namespaces, if there are any, are the only ones that sources may be in.
	Namespaces []string
	// IgnoredNamespaces are those that sources may not be in.
	IgnoredNamespaces []string
	// Sources, if there are any, are the only ones that may be read.
	Sources []Reference
	// Own is caject's own CA, which is always in scope.
	Own Reference
	// NoCertificates leaves cert-manager's Certificates alone.
	NoCertificates bool
}

// Check returns why ref is out of scope, or nil. The Problem is of reason SourceOutOfScope, and final: it is the
// operator's choice.
func (s Scope) Check(ref Reference) *Problem {
	outside := func(why, remedy string) *Problem {
		return &Problem{Reason: SourceOutOfScope, Detail: fmt.Sprintf("%s: %s", ref, why), Remedy: remedy}
	}
	switch {
	case ref.Kind == APIServer || ref == s.Own:
		return nil
	case s.NoCertificates && ref.Kind == Certificate:
		return outside("caject was told not to read Certificates", "name their Secret with "+InjectCAFromSecretAnnotation)
	case len(s.Sources) > 0 && !slices.Contains(s.Sources, ref):
		return outside("caject was told to read other sources only", "name it in --sources (the chart's sources.names), or use one that is named there")
	case slices.Contains(s.IgnoredNamespaces, ref.Namespace):
		return outside("caject was told to ignore the namespace", "use a source in another one")
	case len(s.Namespaces) > 0 && !slices.Contains(s.Namespaces, ref.Namespace):
		return outside("caject was told to read other namespaces only", "use a source in one of those")
	}
	return nil
}
