// Package publish keeps what the replicas of caject share of each source, and what the API server's admission policies read: one
// CABundle for each source that targets name.
//
// What is stored is the truth, and it merges (see cabundle.History). To publish is always the same step: take what is stored, let
// the ledger learn it, store what both know together, and nothing if that is what is stored. So any number of replicas, whatever each of them
// has missed, come to the same value, and are silent then. What is stored where is behind Store.
//
//	ledger (history, reading) --+
//	                            +--> wanted (pure) --> Store.Put --> policies --> targets
//	Store.Get, watch (Stored) --+                      Store.Show (the status, for people)
//
// Nothing depends on this package but speed: Publisher.Fill has a policy fill a target where it can, and says if it could not. The
// caller then writes the target itself.
//
// Goroutines: the workers of the queue, and whoever calls Fill. Lock order: publication.writing, then Publisher.mu.
// publication.writing is held while the API server is asked; no watch waits for it.
package publish
