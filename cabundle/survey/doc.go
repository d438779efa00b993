// Package survey shows each annotated target beside its source, with the rights of whoever asks, whether caject runs or not. It is for people
// and scripts that want to know what is going on; nothing in it writes.
//
//	Reader   reads what there is: targets, the sources that they name, CABundles
//	Judge    says what state a target is in; it is pure
//
// Inspect looks at one object: InspectTarget, InspectSource and InspectCABundle, which are pure, say all that is found of it. What is shown of
// certificates, Events and annotations is Printable.
//
// The rules are those of package cabundle, so the answer is the same for a cluster in which cert-manager's cainjector injects. Secrets
// are never listed: those that a target names are read. What the caller may not read is said, and judged by the rest:
// by what caject publishes of the source, or by whether the target holds any certificate at all.
package survey
