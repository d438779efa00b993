// Package audit says of what a survey has found what a careful operator would look for by hand: not only what is wrong now, but also
// what will be, and what is weaker than it looks. It is pure.
//
//	Run       has all checks look at an Input
//	Issue     is what one of them says; its Code never changes, docs/audit.md has a heading for each
//	Ignore    leaves out what is known and meant
//
// The same checks work on manifests, without a cluster: see package manifests. There the caBundles are mostly still empty, and many
// sources are made later, which is nothing to report.
package audit
