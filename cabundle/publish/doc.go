// Package publish decides what is stored of each source, for the replicas of caject to share and for the API server's admission policies to
// read, and shows it to people: one CABundle for each source that targets name.
//
// What is stored is the truth, and it merges (see cabundle.History). To publish is always the same step: take what is stored, let
// the ledger learn it, store what both know together, and nothing if that is what is stored. So any number of replicas, whatever each of them
// has missed, come to the same value, and are silent then. Package shards keeps it. Nothing is ever read back from a CABundle.
//
//	ledger (history, reading) --+
//	                            +--> wanted (pure) --> shards.Store --> policies --> targets
//	shards.Store (Stored) ------+                  +-> show (CABundle, for people)
//	hint (Hinted) --> publishAhead: a source that no target names yet
//
// Nothing depends on this package but speed: Publisher.Fill has a policy fill a target where it can, and says if it could not. The
// caller then writes the target itself.
//
// Goroutines: the workers of the queues, one that looks for what has expired, and whoever calls Fill. Lock order: publication.writing, then
// Publisher.mu. publication.writing is held while the API server is asked; no watch waits for it.
package publish
