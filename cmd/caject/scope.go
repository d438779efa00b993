package main

import (
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/caject/caject/cabundle"
)

// scopeOptions say which sources are read, and which kinds of target are injected into.
type scopeOptions struct {
	namespaces        []string
	ignoredNamespaces []string
	// sources are as cabundle.Reference.String writes them.
	sources      []string
	certificates bool
	injectable   map[cabundle.Kind]*bool
}

func defaultScope() scopeOptions {
	return scopeOptions{certificates: true, injectable: map[cabundle.Kind]*bool{}}
}

func (s *scopeOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&s.namespaces, "namespace", s.namespaces,
		"Read only sources in these namespaces, and the API server's CA.")
	flags.StringSliceVar(&s.ignoredNamespaces, "ignore-namespaces", s.ignoredNamespaces,
		"Do not read sources in these namespaces. Not together with --namespace.")
	flags.StringSliceVar(&s.sources, "sources", s.sources,
		"Read only these sources, each as secret/namespace/name or certificate/namespace/name (which needs its Secret as well). caject always reads the API server's CA: for no other source, set apiserver alone.")
	flags.BoolVar(&s.certificates, "enable-certificates-data-source", s.certificates,
		"Read cert-manager's Certificates.")
	for _, kind := range cabundle.Kinds() {
		plural := kind.Resource().Resource
		s.injectable[kind] = flags.Bool("enable-"+plural+"-injectable", true, "Inject into "+plural+".")
	}
}

func (s *scopeOptions) validate(wrong *mistakes) {
	if len(s.namespaces) > 0 && len(s.ignoredNamespaces) > 0 {
		wrong.add("namespace", "cannot be combined with --ignore-namespaces")
	}
	if len(s.sources) > 0 && len(s.namespaces)+len(s.ignoredNamespaces) > 0 {
		wrong.add("sources", "cannot be combined with --namespace or --ignore-namespaces")
	}
	for _, source := range s.sources {
		if _, ok := cabundle.ParseReference(source); !ok {
			wrong.add("sources", "%q is not secret/namespace/name, certificate/namespace/name or apiserver", source)
		}
	}
	for flag, namespaces := range map[string][]string{"namespace": s.namespaces, "ignore-namespaces": s.ignoredNamespaces} {
		for _, namespace := range namespaces {
			if len(validation.IsDNS1123Label(namespace)) > 0 {
				wrong.add(flag, "%q is not the name of a namespace", namespace)
			}
		}
	}
}

// kinds are the kinds of target that are injected into.
func (s *scopeOptions) kinds() []cabundle.Kind {
	return slices.DeleteFunc(cabundle.Kinds(), func(kind cabundle.Kind) bool {
		enabled, known := s.injectable[kind]
		return known && !*enabled
	})
}

// scope says which sources are read.
func (o *options) scope() cabundle.Scope {
	scope := cabundle.Scope{
		Namespaces:        o.namespaces,
		IgnoredNamespaces: o.ignoredNamespaces,
		NoCertificates:    !o.certificates,
	}
	for _, source := range o.sources {
		if ref, ok := cabundle.ParseReference(source); ok { // validate has refused others
			scope.Sources = append(scope.Sources, ref)
		}
	}
	if o.serves() {
		own := o.caSecretName()
		scope.Own = cabundle.Reference{Kind: cabundle.Secret, Namespace: own.Namespace, Name: own.Name}
	}
	return scope
}
