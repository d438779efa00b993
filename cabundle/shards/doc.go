// Package shards keeps what the replicas of caject share of each source, and what admission policies read: in a few PodTemplates of
// caject's namespace.
//
// A policy is evaluated once for each of its parameters, so there are few, with many sources each. They are of a built-in kind, for the API
// server reads those lazily: it looks up the one source that an object names, and does not touch the others. PodTemplates cost a cluster
// nothing besides: hardly any exist, and the default roles edit and admin cannot write them. See docs/how-it-works.md.
//
//	shard           a PodTemplate; one volume maps a source to what is published of it, another to its history
//	named, ahead    of sources that targets name, and of those that none names (yet): in shards of their own, so that these never
//	                take room from those
//
// A source stays in the shard that has it, and a new one goes to the first with room. Which shard that is matters to nobody: policies
// and replicas find a source by looking into all. If it is in two (it was moved, or two replicas were at it), both are merged, and one
// is removed a moment later.
//
// Store.Put has group commit: what is put while a shard is being written goes into its next write, all together. So 200 sources that are
// rotated at once are a few writes. Each write is guarded by the resourceVersion; after a conflict the shard is read, and only what
// really differs from what its writer has seen is handed back.
//
// Goroutines: one commits; the watch calls Seen and Gone. Lock: Store.mu, never held while the API server is asked.
package shards
