// Package cabundle holds the rules of CA injection and nothing else: what an object wants (annotations to a
// [Reference]), what bytes it gets ([Bundle]: strict PEM, merged, pruned) and where they go (the caBundle fields
// of the four kinds, and the JSON patch that fills them).
//
// It is pure: no client, context, clock or log. All that delivers bundles calls it, so each rule stands once:
//
//	webhook           fills objects at admission
//	cabundle/resync   keeps them right over time
//	cabundle/cluster  talks to the API server: sources, targets, CABundles
//
// The annotations and their meaning are those of cert-manager's cainjector.
package cabundle
